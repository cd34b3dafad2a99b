"""The event loop of a process: it runs until our own work is done, whatever the project's code does to it.

A task that raises SystemExit or KeyboardInterrupt ends the event loop that it runs in (asyncio's documentation,
"Task.exception"), and so does `loop.stop()`. Handlers and hooks are contained where they are called, but not the tasks
that they make: a TaskGroup of theirs, a stream of starlette's. The loop is whole after that, and goes on where it was.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

NewLoop = Callable[[], asyncio.AbstractEventLoop]


def run(main: Coroutine[Any, Any, None], new_loop: NewLoop) -> None:
    """Run `main` to its end, and raise what it raises. Signals are its own business."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        loop = runner.get_loop()
        task = loop.create_task(main)
        while not task.done():
            try:
                loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
                if task.done() or _is_of_the_terminal(error):
                    raise
                _logger.error("code of the project tried to end the process; it goes on", exc_info=error)


def _is_of_the_terminal(error: BaseException) -> bool:
    """Somebody pressed Ctrl-C before `main` has begun to listen for that."""
    is_heard = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    return isinstance(error, KeyboardInterrupt) and not is_heard
