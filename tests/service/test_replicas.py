"""Which of several replicas a call goes to: those that hang, are away, stopping or unwell are passed over."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from grpclib.const import Status as Code
from waiting import eventually_async

from sagagen.runtime.addresses import Address
from sagagen.runtime.rpc.errors import DOMAIN, NoAnswer, NotReached, RpcError
from sagagen.runtime.rpc.refusals import STOPPING
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.transports import replicas as module
from sagagen.runtime.transports.replicas import LONGEST_REST_S, REST_S, UNWELL, Replica, Replicas

HUNG = NoAnswer(Code.DEADLINE_EXCEEDED, "no answer in time")
AWAY = NotReached("refused")
DRAINING = RpcError(Code.UNAVAILABLE, "stopping", reason=STOPPING, domain=DOMAIN)
NO_DATABASE = RpcError(Code.UNAVAILABLE, "its database can't be reached")


@dataclass
class Service:
    """Replicas whose answers a test decides, at a time that it decides."""

    errors: dict[int, RpcError] = field(default_factory=dict[int, RpcError])
    """By the replica's port."""
    reached: list[int] = field(default_factory=list[int])
    held: dict[int, asyncio.Event] = field(default_factory=dict[int, asyncio.Event])
    """Until it is set, a replica says nothing."""
    now_s: float = 100.0

    @asynccontextmanager
    async def reach(self, address: Address) -> AsyncGenerator["Process"]:
        yield Process(self, address.port)

    def replicas(self, *ports: int) -> Replicas:
        addresses = tuple(Address("10.0.0.1", port) for port in ports)
        return Replicas(self.reach, addresses, is_name=False, monotonic_s=lambda: self.now_s)

    def calls(self) -> list[int]:
        """Which replicas were called since it was asked last."""
        called, self.reached = self.reached, []
        return called


@dataclass
class Process:
    service: Service
    port: int

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        del path, request, metadata, timeout_s
        self.service.reached.append(self.port)
        if held := self.service.held.get(self.port):
            await held.wait()
        if error := self.service.errors.get(self.port):
            raise error
        return Reply(b"", {})


async def call(replicas: Replicas | Replica) -> None:
    with suppress(RpcError):
        await replicas.call("/s/M", b"", metadata={}, timeout_s=1.0)


async def test_replicas_that_are_well_take_turns() -> None:
    service = Service()
    async with service.replicas(1, 2, 3) as replicas:
        for _ in range(6):
            await call(replicas)
    assert sorted(service.calls()) == [1, 1, 2, 2, 3, 3]


async def test_the_least_busy_replica_is_called() -> None:
    """One that hangs keeps its calls, and so gets few more, before any time-out."""
    service, sent = Service(held={1: asyncio.Event()}), list[int]()
    async with service.replicas(1, 2) as replicas, asyncio.TaskGroup() as group:
        for _ in range(10):
            task = group.create_task(call(replicas))
            await eventually_async("the call to be sent", lambda: service.reached, bool)
            sent += (called := service.calls())
            if called == [2]:
                await task
        service.held[1].set()
    assert sorted(sent) == [1] + [2] * 9


@pytest.mark.parametrize("error", [AWAY, DRAINING], ids=["away", "stopping"])
async def test_a_call_of_which_nothing_was_done_goes_to_the_next(error: RpcError) -> None:
    service = Service(errors={1: error})
    async with service.replicas(1, 2) as replicas:
        for _ in range(4):
            await replicas.call("/s/M", b"", metadata={}, timeout_s=1.0)
        assert sorted(service.calls()) == [1, 2, 2, 2, 2]
        service.now_s += REST_S
        service.errors.clear()
        for _ in range(4):
            await call(replicas)
    assert sorted(service.calls()) == [1, 1, 2, 2], "it is back"


async def test_a_call_that_broke_off_is_not_made_elsewhere() -> None:
    service = Service(errors={1: HUNG, 2: HUNG})
    async with service.replicas(1, 2) as replicas:
        with pytest.raises(NoAnswer):
            await replicas.call("/s/M", b"", metadata={}, timeout_s=1.0)
    assert len(service.calls()) == 1


async def test_a_replica_that_does_not_answer_rests_longer_each_time() -> None:
    service = Service(errors={1: HUNG})
    called_s: list[float] = []
    async with service.replicas(1, 2) as replicas:
        while len(called_s) < 7:
            for _ in range(2):
                await call(replicas)
            if 1 in service.calls():
                called_s.append(service.now_s)
            service.now_s += 0.25
    rests = [after - before for before, after in pairwise(called_s)]
    assert rests == [REST_S, REST_S * 2, REST_S * 4, REST_S * 8, LONGEST_REST_S, LONGEST_REST_S]


async def test_one_call_at_a_time_tries_whether_a_silent_replica_is_back() -> None:
    service = Service(errors={1: HUNG})
    async with service.replicas(1, 2) as replicas, asyncio.TaskGroup() as group:
        await _until_called(service, replicas, 1)
        service.now_s += REST_S
        service.held[1] = asyncio.Event()
        tried = [group.create_task(call(replicas)) for _ in range(6)]
        await eventually_async("all to be sent", lambda: len(service.reached), lambda count: count == 6)
        assert service.calls().count(1) == 1
        service.errors.clear()
        service.held[1].set()
        await asyncio.wait(tried)
        for _ in range(4):
            await call(replicas)
    assert sorted(service.calls()) == [1, 1, 2, 2], "it is back"


async def test_a_replica_that_answers_others_is_only_slow_with_this_call() -> None:
    service = Service(held={1: asyncio.Event()}, errors={1: HUNG})
    replica = Replica(Address("10.0.0.1", 1), Process(service, 1), AsyncExitStack(), lambda: service.now_s)
    slow = asyncio.create_task(call(replica))
    await eventually_async("the call to be sent", lambda: service.reached, bool)
    service.now_s += 0.5
    held, error = service.held.pop(1), service.errors.pop(1)
    await call(replica)
    service.errors[1] = error
    held.set()
    await slow
    assert not replica.is_suspect
    service.now_s += 0.5
    await call(replica)
    assert replica.is_suspect, "this one has heard nothing at all"


async def test_a_replica_that_is_never_available_rests() -> None:
    """It would answer fastest, and so be the least busy."""
    service = Service(errors={1: NO_DATABASE})
    async with service.replicas(1, 2) as replicas:
        for _ in range(40):
            await call(replicas)
        assert service.calls().count(1) == UNWELL
        service.now_s += REST_S
        for _ in range(10):
            await call(replicas)
        assert service.calls().count(1) == 1
        service.errors.clear()
        service.now_s += REST_S
        for _ in range(10):
            await call(replicas)
        assert service.calls().count(1) == 5


async def test_where_all_rest_they_are_called_all_the_same() -> None:
    service = Service(errors={1: AWAY, 2: AWAY})
    async with service.replicas(1, 2) as replicas:
        for _ in range(3):
            with pytest.raises(NotReached):
                await replicas.call("/s/M", b"", metadata={}, timeout_s=1.0)
    assert sorted(service.calls()) == [1, 1, 1, 2, 2, 2]


async def test_a_name_is_looked_up_again_when_its_replica_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    service, found = Service(errors={1: AWAY}), ["10.0.0.1"]
    monkeypatch.setattr(module, "LOOK_UP_S", 3600.0)
    monkeypatch.setattr(module, "LOOK_AGAIN_S", 0.01)

    async def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        assert host == "order.shop.svc"
        return [(0, 0, 0, "", (address, port)) for address in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    name = (Address("order.shop.svc", 1),)
    async with Replicas(service.reach, name, is_name=True) as replicas:
        await call(replicas)
        found[:] = ["10.0.0.2"]
        await call(replicas)
        await eventually_async(
            "the new address", lambda: _hosts(replicas), lambda hosts: hosts == ["10.0.0.2"]
        )


def _hosts(replicas: Replicas) -> list[str]:
    return [replica.address.host for replica in replicas._replicas]  # pyright: ignore[reportPrivateUsage]


async def _until_called(service: Service, replicas: Replicas, port: int) -> None:
    for _ in range(4):
        await call(replicas)
        if port in service.calls():
            return
    raise AssertionError(f"{port} is never called")
