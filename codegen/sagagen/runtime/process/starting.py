"""A process whose start meets what passes by itself.

If the disk is full, it makes room for what is under way, and otherwise waits for some. If another program has locked a
database, it waits for the lock.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, cast

import structlog

from sagagen.runtime.log.reserve import make_room_to_start
from sagagen.runtime.settings import Settings
from sagagen.runtime.sqlite.disk_errors import NotYet

AGAIN_S = 1.0
"""Time in seconds between two tries."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Opened = AbstractAsyncContextManager[Any]


async def entered(
    stack: AsyncExitStack,
    first: Opened,
    again: Callable[[], Opened],
    *,
    settings: Settings,
    owns_log: bool,
    stop: asyncio.Event,
) -> bool:
    """Enter a process's context once nothing that passes is in the way; false if `stop` is set before.

    `again` makes another of what can be entered once. `owns_log`: the reserve of the saga log may be used.
    """
    process, said = first, ""
    while not stop.is_set():
        if owns_log:
            make_room_to_start(settings.saga_log)
        try:
            await stack.enter_async_context(process)
        except BaseException as error:
            problem = _passing(error)
            if problem is None:
                raise
            if str(problem) != said:
                said = str(problem)
                _logger.error(f"not started yet: it starts by itself {problem.when}", problem=said)
            await _stopped_within(stop, AGAIN_S)
            process = again()
        else:
            return True
    return False


def _passing(error: BaseException) -> NotYet | None:
    """The one thing that is wrong; None if it is another, or there are several. What was open before ends in groups."""
    while isinstance(error, BaseExceptionGroup):
        causes = cast("BaseExceptionGroup[BaseException]", error).exceptions
        if len(causes) != 1:
            return None
        error = causes[0]
    return error if isinstance(error, NotYet) else None


async def _stopped_within(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
