"""All that code can raise, by name: what no Exception is would end a process or pass for somebody's cancelling."""

import asyncio
import sys
from collections.abc import Callable
from typing import NoReturn

from grpclib.const import Status as Code

from sagagen.runtime.rpc.errors import RpcError


class OfTheProject(BaseException):
    """Frameworks have such: pytest's outcomes, gevent's and anyio's ends of a task."""


class _NoText(Exception):
    def __str__(self) -> str:
        sys.exit("even its text")


def _raises(error: type[BaseException], *arguments: object) -> Callable[[], NoReturn]:
    def do() -> NoReturn:
        raise error(*arguments)

    return do


def _recurse() -> NoReturn:
    _recurse()


def _deep_group() -> NoReturn:
    """More levels than a traceback can be written of."""
    group = BaseExceptionGroup[BaseException]("nested", [SystemExit(3)])
    for _ in range(2000):
        group = BaseExceptionGroup[BaseException]("nested", [group])
    raise group


ENDS: dict[str, Callable[[], object]] = {
    "SystemExit": lambda: sys.exit(3),
    "KeyboardInterrupt": _raises(KeyboardInterrupt),
    "GeneratorExit": _raises(GeneratorExit),
    "CancelledError": _raises(asyncio.CancelledError),
    "a BaseException of the project": _raises(OfTheProject, "mine"),
    "a group of them": _raises(BaseExceptionGroup, "several", [SystemExit(3), OfTheProject()]),
    "a group too deep to be written": _deep_group,
    "RecursionError": _recurse,
    "MemoryError": _raises(MemoryError),
    "StopIteration": _raises(StopIteration),
    "StopAsyncIteration": _raises(StopAsyncIteration),
    "TimeoutError": _raises(TimeoutError),
    "an Exception without a text": _raises(_NoText),
    "an RpcError that can't be sent": _raises(RpcError, Code.ABORTED, object()),
}
