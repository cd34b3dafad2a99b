"""The event loop of a process: it runs until our own work is done, whatever the project's code does to it.

A task that raises SystemExit or KeyboardInterrupt ends the event loop that it runs in (asyncio's documentation,
"Task.exception"), and so does `loop.stop()`. Handlers and hooks are contained where they are called, but not the tasks
that they make: a TaskGroup of theirs, a stream of starlette's. The loop is whole after that, and goes on where it was.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

CANCELLED_S = 0.5
"""How long cancelled tasks are waited for at the end, in seconds; handlers and requests had their time before."""

NewLoop = Callable[[], asyncio.AbstractEventLoop]


def run(main: Coroutine[Any, Any, None], new_loop: NewLoop) -> None:
    """Run `main` to its end, and raise what it raises. Signals are its own business.

    Tasks that go on though they are cancelled are named and left behind. Then this ends the process: nothing of ours is
    open any more.
    """
    loop = new_loop()
    asyncio.set_event_loop(loop)
    deaf: list[str] = []
    try:
        _run_to_end(loop, loop.create_task(main))
    finally:
        deaf += _cancel_the_rest(loop)
        if not deaf:
            _run_to_end(loop, loop.create_task(loop.shutdown_asyncgens()))
            asyncio.set_event_loop(None)
            loop.close()
    if deaf:
        _logger.error("tasks go on though they were cancelled; they are left behind", tasks=deaf)
        logging.shutdown()
        os._exit(0)


def _run_to_end(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]") -> None:
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
            if task.done() or _is_of_the_terminal(error):
                raise
            _logger.error("code of the project tried to end the process; it goes on", exc_info=error)


def _cancel_the_rest(loop: asyncio.AbstractEventLoop) -> list[str]:
    """The names of those that do not end."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        _run_to_end(loop, loop.create_task(_ended(tasks)))
    return [task.get_name() for task in tasks if not task.done()]


async def _ended(tasks: "set[asyncio.Task[Any]]") -> None:
    await asyncio.wait(tasks, timeout=CANCELLED_S)


def _is_of_the_terminal(error: BaseException) -> bool:
    """Somebody pressed Ctrl-C before `main` has begun to listen for that."""
    is_heard = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    return isinstance(error, KeyboardInterrupt) and not is_heard
