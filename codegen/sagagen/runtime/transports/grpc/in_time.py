"""A limit on a wait that mostly is none: what a call needs has mostly come before it is asked for.

`asyncio.timeout` sets and clears a timer for every call, which is a fiftieth of what a saga's call takes.
"""

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar, cast

Result = TypeVar("Result")


async def in_time(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` returns. Raises TimeoutError after so many seconds; only work that has to wait is given a timer."""
    try:
        waited_for = work.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    async with asyncio.timeout(seconds):
        return await _rest(work, waited_for)


@coroutine
def _rest(work: Coroutine[Any, Any, Result], waited_for: Any) -> Generator[Any, Any, Result]:
    """Goes on with work that has begun, and hands what it waits for to the task."""
    try:
        while True:
            try:
                sent = yield waited_for
            except BaseException as error:  # noqa: BLE001 - a cancellation is the work's, as is all else
                waited_for = work.throw(error)
            else:
                waited_for = work.send(sent)
    except StopIteration as done:
        return cast(Result, done.value)
