"""Several processes of one service: each call goes to one of those that are well, and the least busy of them.

A replica that can't be reached, or is stopping, rests a second, and its call goes to the next one: nothing of it was
done. A call that broke off on its way is not sent to another one here, since nobody knows what became of it; whoever
makes it decides.

Theory of operation. Nobody asks a replica how it is: the calls tell. One that hangs keeps its calls, so it is the
busiest at once, and gets few new ones. When the first of them has waited in vain it rests: a second at first, longer
each time. Then one single call tries it, and if that is answered, in whatever way, it is one of the others again. A
replica that answers nothing but UNAVAILABLE rests as well. Where all rest, they are called as if none did.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Protocol, Self

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.addresses import Address
from sagagen.runtime.rpc.errors import NoAnswer, NotReached, RpcError
from sagagen.runtime.rpc.refusals import STOPPING
from sagagen.runtime.rpc.transport import ReplicaStanding, Reply, Transport

REST_S = 1.0
"""How long a replica that does not answer is passed over at first, in seconds; twice as long each further time."""
LONGEST_REST_S = 15.0
UNWELL = 5
"""So many times UNAVAILABLE in a row, and nothing else, and a replica rests."""
LOOK_UP_S = 5.0
"""How often a name is looked up again, in seconds."""
LOOK_AGAIN_S = 0.5
"""The same where a replica did not answer: it may have moved."""
LEFT_S = 30.0
"""How long calls under way to a replica that is gone from its name may take to end, in seconds."""

Reach = Callable[[Address], AbstractAsyncContextManager[Transport]]


class Databases(Protocol):
    """Sees to it that all replicas have the same database."""

    async def check_at_start(self, replicas: "Sequence[Replica]", /) -> None:
        """Raises StartupError where those that can be reached do not."""
        ...

    async def check(self, replica: "Replica", replicas: "Sequence[Replica]", /) -> None:
        """Raises RpcError where this one must not be called, and NotReached where it can't be asked."""
        ...


_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Replica:
    """One process, and what its calls have told of it; implements Transport."""

    def __init__(
        self,
        address: Address,
        transport: Transport,
        stack: AsyncExitStack,
        monotonic_s: Callable[[], float],
    ) -> None:
        self.address = address
        self.stack = stack
        self.under_way = 0
        self._transport = transport
        self._monotonic_s = monotonic_s
        self.database: str | None = None
        """What it says about its database; None: it was not asked since it was away."""
        self._rests_until_s = float("-inf")
        self._heard_s = float("-inf")
        """When it last answered."""
        self._silences = 0
        """Rests in a row, without an answer in between."""
        self._unavailable = 0
        """Answers in a row that were UNAVAILABLE."""

    @property
    def is_suspect(self) -> bool:
        """It did not answer, or not well, and has not made up for that."""
        return self._silences > 0 or self._unavailable >= UNWELL

    def is_resting(self) -> bool:
        """Also while one call tries whether it is back."""
        return self.is_suspect and (self.under_way > 0 or self._monotonic_s() < self._rests_until_s)

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        """As Transport says."""
        sent_s = self._monotonic_s()
        self.under_way += 1
        try:
            reply = await self._transport.call(path, request, metadata=metadata, timeout_s=timeout_s)
        except RpcError as error:
            self._failed(error, sent_s)
            raise
        else:
            self._answered(is_well=True)
            return reply
        finally:
            self.under_way -= 1

    def _failed(self, error: RpcError, sent_s: float) -> None:
        # Another process may be there when it is back; one that was only slow is the same.
        if did_nothing(error) or (isinstance(error, NoAnswer) and error.code is Code.UNAVAILABLE):
            self.database = None
        if did_nothing(error):  # to try it again costs nobody anything
            self._silences = 1
            self._rest(REST_S)
        elif not isinstance(error, NoAnswer):
            self._answered(is_well=error.code is not Code.UNAVAILABLE)
        elif self._heard_s < sent_s:  # else it is slow with this call, and well
            self._is_silent(sent_s)

    def _answered(self, *, is_well: bool) -> None:
        self._heard_s = self._monotonic_s()
        self._silences = 0
        self._unavailable = 0 if is_well else self._unavailable + 1
        if self._unavailable >= UNWELL:
            self._rest(REST_S)

    def _is_silent(self, sent_s: float) -> None:
        if self._silences and sent_s < self._rests_until_s:
            return  # it was sent before the rest began: it says nothing new
        self._silences += 1
        self._rest(min(REST_S * 2 ** (self._silences - 1), LONGEST_REST_S))

    def _rest(self, seconds: float) -> None:
        self._rests_until_s = self._monotonic_s() + seconds


def did_nothing(error: RpcError) -> bool:
    """Whether a replica is known to have done nothing of a call, so that another one can have it."""
    return isinstance(error, NotReached) or (error.is_ours and error.reason == STOPPING)


class Replicas:
    """Implements Transport, over addresses that are known; or over a name, whose addresses may change."""

    def __init__(
        self,
        reach: Reach,
        addresses: tuple[Address, ...],
        *,
        is_name: bool,
        monotonic_s: Callable[[], float] = time.monotonic,
        databases: Databases | None = None,
    ) -> None:
        """`is_name`: the one address is a host name that stands for all replicas, as a headless service has it.

        `databases` sees to it that all have the same one.
        """
        self._databases = databases
        self._reach = reach
        self._addresses = addresses
        self._is_name = is_name
        self._monotonic_s = monotonic_s
        self._replicas: list[Replica] = []
        self._next = 0
        self._may_have_moved = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        for address in await self._look_up() if self._is_name else self._addresses:
            await self._add(address)
        if self._databases and not self._is_name:
            await self._databases.check_at_start(self._replicas)
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
                if self._databases:
                    await self._databases.check(replica, self._replicas)
                return await replica.call(path, request, metadata=metadata, timeout_s=timeout_s)
            except RpcError as error:
                if isinstance(error, NoAnswer):
                    self._may_have_moved.set()
                if not did_nothing(error):
                    raise
                failed = error
        self._may_have_moved.set()
        raise failed or RpcError(Code.UNAVAILABLE, "the service's name has no address")

    def standing(self) -> list[ReplicaStanding]:
        """How each does now."""
        return [
            ReplicaStanding(str(each.address), each.is_resting(), each.under_way) for each in self._replicas
        ]

    def _in_turn(self) -> list[Replica]:
        """The least busy first, and of those by turns; those that rest come last, since they may be back."""
        replicas = self._replicas
        if not replicas:
            return []
        first = self._next = (self._next + 1) % len(replicas)
        return sorted(
            (*replicas[first:], *replicas[:first]), key=lambda each: (each.is_resting(), each.under_way)
        )

    async def _add(self, address: Address) -> None:
        stack = AsyncExitStack()
        transport = await stack.enter_async_context(self._reach(address))
        self._replicas.append(Replica(address, transport, stack, self._monotonic_s))

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
            await asyncio.sleep(LOOK_AGAIN_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_UP_S - LOOK_AGAIN_S):
                    await self._may_have_moved.wait()
            self._may_have_moved.clear()
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


async def _leave(replica: Replica) -> None:
    """No new call goes there; those under way have their time."""
    try:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(LEFT_S)
    finally:
        await replica.stack.aclose()
