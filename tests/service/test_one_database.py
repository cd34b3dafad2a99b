"""Replicas share a database; whatever does not is found out before it is called."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from grpclib.const import Status as Code
from ledger import SCHEMA, Ledger, running
from waiting import eventually_async

from sagagen.runtime.addresses import Address
from sagagen.runtime.rpc.database import DATABASE_PATH
from sagagen.runtime.rpc.errors import NoAnswer, NotReached, RpcError
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.startup import SettingsError
from sagagen.runtime.transports.grpc.client import GrpcTransport
from sagagen.runtime.transports.grpc.server import serve_grpc
from sagagen.runtime.transports.one_database import OneDatabase
from sagagen.runtime.transports.replicas import REST_S, Replicas

SHARED = "postgresql 7 shop 1"
OWN = ""
AWAY = NotReached("refused")
OLDER = RpcError(Code.UNIMPLEMENTED, "no such rpc")
BROKEN = NoAnswer(Code.UNAVAILABLE, "the connection was lost")
HUNG = NoAnswer(Code.DEADLINE_EXCEEDED, "no answer in time")


@dataclass
class Mesh:
    """Processes of one service by port, with what each says about its database."""

    says: dict[int, str | RpcError]
    called: list[int] = field(default_factory=list[int])
    """By calls of the contract."""
    asked: list[int] = field(default_factory=list[int])
    """About their databases."""
    answers: asyncio.Event | None = None
    """Until it is set, nobody says anything about databases."""
    now_s: float = 100.0

    @asynccontextmanager
    async def reach(self, address: Address) -> AsyncGenerator["Process"]:
        yield Process(self, address.port)

    def replicas(self, *, is_name: bool = False) -> Replicas:
        addresses = tuple(Address("127.0.0.1", port) for port in self.says)
        databases = OneDatabase("order", lambda plain: plain, lambda: self.now_s)
        return Replicas(
            self.reach, addresses, is_name=is_name, monotonic_s=lambda: self.now_s, databases=databases
        )


@dataclass
class Process:
    mesh: Mesh
    port: int

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        if path == DATABASE_PATH:
            self.mesh.asked.append(self.port)
            if self.mesh.answers:
                await self.mesh.answers.wait()
        said = self.mesh.says[self.port]
        if isinstance(said, RpcError) and (path == DATABASE_PATH or said is not OLDER):
            raise said
        if path != DATABASE_PATH:
            self.mesh.called.append(self.port)
        return Reply(said.encode() if isinstance(said, str) else b"")


async def call(replicas: Replicas) -> None:
    await replicas.call("/s/M", b"", metadata={}, timeout_s=1.0)


async def said(replicas: Replicas) -> RpcError | None:
    try:
        await call(replicas)
    except RpcError as error:
        return error
    return None


async def test_replicas_that_share_a_database_are_called() -> None:
    mesh = Mesh({1: SHARED, 2: SHARED, 3: AWAY})
    async with mesh.replicas() as replicas:
        for _ in range(4):
            await call(replicas)
        assert set(mesh.called) == {1, 2}
        mesh.says[3], mesh.now_s = SHARED, mesh.now_s + REST_S
        for _ in range(6):
            await call(replicas)
        assert set(mesh.called) == {1, 2, 3}


@pytest.mark.parametrize("says", [OWN, OLDER], ids=["SQLite", "a release of before"])
async def test_several_processes_on_sqlite_are_refused_at_the_start(says: str | RpcError) -> None:
    mesh = Mesh({1: SHARED, 2: says})
    with pytest.raises(
        SettingsError, match=r"SAGAGEN_ORDER_ADDR .* 127\.0\.0\.1:2 has a SQLite file of its own"
    ):
        async with mesh.replicas():
            pass
    assert mesh.called == []


async def test_one_that_comes_later_with_another_database_stops_all_calls() -> None:
    mesh = Mesh({1: SHARED, 2: AWAY})
    async with mesh.replicas() as replicas:
        await call(replicas)
        mesh.says[2], mesh.now_s = "postgresql 8 shop 1", mesh.now_s + REST_S
        for _ in range(4):
            await said(replicas)
        refused = await said(replicas)
        assert refused is not None
        assert (refused.code, "do not share a database" in refused.message) == (Code.UNAVAILABLE, True)
        assert 2 not in mesh.called
        mesh.says[2], mesh.now_s = SHARED, mesh.now_s + REST_S  # a person has mended it
        for _ in range(4):
            await call(replicas)
        assert {1, 2} == set(mesh.called)


async def test_one_that_hangs_when_it_is_asked_is_passed_over() -> None:
    mesh = Mesh({1: HUNG, 2: SHARED})
    async with mesh.replicas() as replicas:
        await call(replicas)
        await call(replicas)
    assert mesh.called == [2, 2]


async def test_calls_that_come_at_once_ask_once() -> None:
    mesh = Mesh({1: AWAY, 2: AWAY})
    async with mesh.replicas() as replicas, asyncio.TaskGroup() as group:
        mesh.says, mesh.asked, mesh.now_s = {1: SHARED, 2: SHARED}, [], mesh.now_s + REST_S
        mesh.answers = asyncio.Event()
        calls = [group.create_task(call(replicas)) for _ in range(8)]
        await eventually_async("both to be asked", lambda: len(mesh.asked), lambda count: count >= 2)
        calls.pop().cancel()  # the others still want to know
        mesh.answers.set()
        await asyncio.wait(calls)
    assert (sorted(mesh.asked), len(mesh.called)) == ([1, 2], 7)


async def test_one_that_was_slow_with_a_call_is_not_asked_again() -> None:
    mesh = Mesh({1: SHARED, 2: SHARED})
    async with mesh.replicas() as replicas:
        mesh.says[1] = mesh.says[2] = HUNG
        for _ in range(2):
            assert await said(replicas) is HUNG
        mesh.says, mesh.asked, mesh.now_s = {1: SHARED, 2: SHARED}, [], mesh.now_s + REST_S
        await call(replicas)
        assert mesh.asked == []
        mesh.says[1] = mesh.says[2] = BROKEN
        await said(replicas)
        mesh.says, mesh.now_s = {1: SHARED, 2: SHARED}, mesh.now_s + REST_S
        for _ in range(2):
            await call(replicas)
        assert len(mesh.asked) == 1, "another process may be there now"


async def test_a_name_with_one_address_may_be_a_file_of_its_own() -> None:
    mesh = Mesh({1: OWN})
    async with mesh.replicas(is_name=True) as replicas:
        await call(replicas)
    assert mesh.called == [1]


async def test_services_on_sqlite_say_so_over_grpc(tmp_path: Path) -> None:
    """Two real ones, as a list of addresses would reach them."""

    @asynccontextmanager
    async def served(name: str) -> AsyncGenerator[Address]:
        (tmp_path / name).mkdir()
        async with (
            running(tmp_path / name, Ledger()) as host,
            serve_grpc(host, "127.0.0.1", 0, SCHEMA) as port,
        ):
            yield Address("127.0.0.1", port)

    async with served("one") as one, served("two") as two:
        databases = OneDatabase("ledger", lambda plain: plain)
        replicas = Replicas(
            lambda at: GrpcTransport(at.host, at.port), (one, two), is_name=False, databases=databases
        )
        with pytest.raises(
            SettingsError, match=r"put the service on PostgreSQL \(SAGAGEN_LEDGER_DATABASE_URL"
        ):
            async with replicas:
                pass
