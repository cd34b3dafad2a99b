"""Several processes of one service, reached by turns.

A replica that can't be reached rests a second, and its call goes to the next one: nothing was sent. A call that broke
off on its way is not sent to another one here, since nobody knows what became of it; whoever makes it decides.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Self

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.addresses import Address
from sagagen.runtime.rpc.errors import NotReached, RpcError
from sagagen.runtime.rpc.transport import Reply, Transport

REST_S = 1.0
"""How long a replica that can't be reached is passed over, in seconds."""
LOOK_UP_S = 5.0
"""How often a name is looked up again, in seconds."""
LEFT_S = 30.0
"""How long calls under way to a replica that is gone from its name may take to end, in seconds."""

Reach = Callable[[Address], AbstractAsyncContextManager[Transport]]

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Replica:
    def __init__(self, address: Address, transport: Transport, stack: AsyncExitStack) -> None:
        self.address = address
        self.transport = transport
        self.stack = stack
        self.rests_until_s = 0.0


class Replicas:
    """Implements Transport, over addresses that are known; or over a name, whose addresses may change."""

    def __init__(
        self,
        reach: Reach,
        addresses: tuple[Address, ...],
        *,
        is_name: bool,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_name`: the one address is a host name that stands for all replicas, as a headless service has it."""
        self._reach = reach
        self._addresses = addresses
        self._is_name = is_name
        self._monotonic_s = monotonic_s
        self._replicas: list[_Replica] = []
        self._next = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        for address in await self._look_up() if self._is_name else self._addresses:
            await self._add(address)
        if self._is_name:
            self._spawn(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for replica in self._replicas:
            await replica.stack.aclose()

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        """As Transport says."""
        failed: RpcError | None = None
        for replica in self._in_turn():
            try:
                return await replica.transport.call(path, request, metadata=metadata, timeout_s=timeout_s)
            except NotReached as error:
                replica.rests_until_s = self._monotonic_s() + REST_S
                failed = error
        raise failed or RpcError(Code.UNAVAILABLE, "the service's name has no address")

    def _in_turn(self) -> list[_Replica]:
        """From the next one on; those that rest come last, since they may be back."""
        replicas = self._replicas
        if not replicas:
            return []
        first = self._next = (self._next + 1) % len(replicas)
        now_s = self._monotonic_s()
        return sorted((*replicas[first:], *replicas[:first]), key=lambda each: each.rests_until_s > now_s)

    async def _add(self, address: Address) -> None:
        stack = AsyncExitStack()
        transport = await stack.enter_async_context(self._reach(address))
        self._replicas.append(_Replica(address, transport, stack))

    async def _look_up(self) -> tuple[Address, ...]:
        """What the name stands for now; nothing where it can't be looked up."""
        (name,) = self._addresses
        try:
            found = await asyncio.get_running_loop().getaddrinfo(name.host, name.port, type=1)
        except OSError as error:
            _logger.warning("a service's name can't be looked up", name=name.host, why=error.strerror)
            return ()
        return tuple(dict.fromkeys(Address(str(entry[4][0]), name.port) for entry in found))

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_UP_S)
            found = await self._look_up()
            if not found:  # better those that were there than none
                continue
            known = {replica.address for replica in self._replicas}
            for address in found:
                if address not in known:
                    await self._add(address)
            for replica in [replica for replica in self._replicas if replica.address not in found]:
                self._replicas.remove(replica)
                self._spawn(_leave(replica))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _leave(replica: _Replica) -> None:
    """No new call goes there; those under way have their time."""
    try:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(LEFT_S)
    finally:
        await replica.stack.aclose()
