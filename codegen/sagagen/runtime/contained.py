"""Where the project's code is called: whatever it raises ends there, and not the process.

`except Exception` is not enough. SystemExit and KeyboardInterrupt end an event loop, whichever task raises them, and
with it every saga of the process; a CancelledError that nobody asked for looks as if somebody had.
"""

import asyncio
import traceback


def is_cancelled(error: BaseException) -> bool:
    """Whether somebody cancelled this task, and `error` says so. Code may also raise CancelledError on its own."""
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def as_logged(error: BaseException) -> BaseException:
    """An exception whose traceback can be written: `error`, unless that is nested too deeply, or raises itself."""
    try:
        "".join(traceback.format_exception(error))
    except BaseException as unwritten:  # noqa: BLE001 - texts of exceptions are code of the project as well
        kind = type(error).__name__
        return RuntimeError(f"a {kind}, whose traceback can't be written ({type(unwritten).__name__})")
    return error
