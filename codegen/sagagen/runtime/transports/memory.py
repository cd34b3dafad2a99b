"""Calls within one process that behave as over gRPC: encoded bytes, ASCII metadata, deadlines, limits, cancellation."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.contained import as_logged, is_cancelled
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.limits import check_metadata, check_size, wire_form
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.service.delivery import FAILED
from sagagen.runtime.service.host import ServiceHost

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class MemoryTransport:
    """The way to a service of the same process; implements Transport. Nothing needs to be closed."""

    def __init__(self, host: ServiceHost) -> None:
        self._host = host

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        """As Transport says. The handler runs in a task of its own; who stops waiting does not wait for its end."""
        check_metadata(metadata)
        if timeout_s <= 0:
            raise _late(path)
        if not self._host.is_open:
            raise RpcError(Code.UNAVAILABLE, f"service {self._host.service.name} has stopped")
        task = self._host.spawn(_answer(self._host, path, request, dict(metadata), timeout_s))
        if not await _is_done(task, timeout_s):
            raise _late(path)
        if task.cancelled():
            raise RpcError(Code.UNAVAILABLE, f"service {self._host.service.name} stopped during the call")
        result = task.result()
        if isinstance(result, RpcError):
            # By way of the wire's form, so that nothing gets across here that would be lost there.
            raise RpcError.from_status(result.code, *wire_form(result)) from result
        return result


async def _answer(
    host: ServiceHost, path: str, request: bytes, metadata: Mapping[str, str], timeout_s: float
) -> Reply | RpcError:
    try:
        check_size(len(request))
        reply = await host.handle(path, request, metadata, timeout_s)
        check_size(len(reply.response))
    except RpcError as error:
        return error
    except BaseException as error:
        if is_cancelled(error):
            raise
        # A GeneratorExit that comes out of a future closes every coroutine on its way: no wall within sees it.
        _logger.error("a call broke off", rpc=path, exc_info=as_logged(error))
        return RpcError(Code.INTERNAL, FAILED)
    return reply


async def _is_done(task: "asyncio.Task[Any]", within_s: float) -> bool:
    """Wait for the task, and cancel it if it takes longer. As asyncio.wait does, at half of its cost."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[bool] = loop.create_future()
    timer = loop.call_later(within_s, _settle, over, False)
    task.add_done_callback(lambda _: _settle(over, True))
    try:
        return await over
    finally:
        timer.cancel()
        task.cancel()


def _settle(over: "asyncio.Future[bool]", is_done: bool) -> None:
    if not over.done():
        over.set_result(is_done)


def _late(path: str) -> RpcError:
    return RpcError(Code.DEADLINE_EXCEEDED, f"no answer to {path} in time")
