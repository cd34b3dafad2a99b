"""What the product and the handlers log in a test: kept with what else happened, and shown where a test fails.

By itself structlog writes each line to the terminal, with the values of all variables where something was raised: a
tenth of a second for each line of a failure that is repeated for a day.
"""

import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import structlog
from structlog.typing import EventDict, WrappedLogger

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

Note = Callable[[str, str, str], None]
"""Called with level, line, and traceback, which is empty if nothing was raised."""


@contextmanager
def noted(note: Note) -> Generator[None]:
    """Send all log lines there until the block is left. A project that has configured structlog for good keeps that."""
    before = structlog.get_config()

    def keep(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        error = _raised(event.pop("exc_info", None))
        line = " ".join([str(event.pop("event", "")), *(f"{name}={value}" for name, value in event.items())])
        if error is not None:
            line = f"{line}: {type(error).__name__}: {error}{_place(error)}"
        level = "error" if method in ("exception", "critical") else method
        note(level, line, "".join(traceback.format_exception(error)) if error else "")
        raise structlog.DropEvent

    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)


def _raised(given: object) -> BaseException | None:
    """What `exc_info` may be: an exception, what `sys.exc_info` returns, or that there is one."""
    if isinstance(given, BaseException):
        return given
    if not given:
        return None
    _, error, _ = cast("OptExcInfo", given) if isinstance(given, tuple) else sys.exc_info()
    return error


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f" ({frames[0].filename}:{frames[0].lineno})" if frames else ""
