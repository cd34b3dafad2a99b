"""A service on PostgreSQL with a real standby: what a start says of it, reads from it, and what its promotion means."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import postgres_server
import pytest
from grpclib.const import Status as Code
from ledger import PUT, SCHEMA, SERVICE, SQL, Ledger, put
from postgres_server import PostgresServer
from small_mesh import saga_call
from store_conformance import TABLES, Shop, effect
from structlog.typing import EventDict
from waiting import LIMIT_S, eventually_async

from sagagen.runtime.clock import SystemClock
from sagagen.runtime.postgres.connection import PgConnection
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import REPLAYED
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.service.postgres_store.place import Place
from sagagen.runtime.service.postgres_store.preparing import PostgresError, PostgresScripts
from sagagen.runtime.service.postgres_store.store import PostgresStore

pytestmark = pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-")


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        server.database("lab")
        yield server


@pytest.fixture(scope="module")
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    with PostgresServer(of=primary) as server:
        yield server


def scripts(base: str) -> PostgresScripts:
    return PostgresScripts(Path("lab.postgres.sql"), base, {})


async def test_a_standby_answers_reads_and_a_start_says_that_nothing_waits_for_it(
    primary: PostgresServer, standby: PostgresServer, log_lines: list[EventDict]
):
    store = PostgresStore.open(
        "lab", primary.url("lab"), scripts(TABLES), SystemClock(), read_url=standby.url("lab")
    )
    async with store as opened:
        said = [line for line in log_lines if "standbys are attached" in str(line["event"])]
        assert [line["standbys"] for line in said] == [1]
        assert "P7" in str(said[0]["event"])
        shop = Shop(opened)
        await shop.act("a", effect("a"))
        caught_up = await eventually_async("the standby to catch up", shop.effects, bool, despite=(RpcError,))
        assert caught_up == ["a"]
        async with opened.read() as db:
            assert (await db.fetch("SELECT pg_is_in_recovery() AS is_standby"))[0]["is_standby"]


async def test_a_service_is_not_started_on_a_standby(standby: PostgresServer):
    with pytest.raises(PostgresError, match="this server is a standby, which takes no writes"):
        async with PostgresStore.open("lab", standby.url("lab"), scripts(TABLES), SystemClock()):
            pass


@asynccontextmanager
async def ledger_on(url: str, ledger: Ledger) -> AsyncGenerator[ServiceHost]:
    opened = PostgresStore.open("ledger", url, scripts(SQL), SystemClock())
    async with ServiceHost.on(
        opened, SERVICE, ledger, project="lab", schema=SCHEMA, clock=SystemClock()
    ) as host:
        yield host


class Connection:
    """What a Place asks of one."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.ended: list[Callable[[object], None]] = []

    async def fetchval(self, query: str) -> str:
        return self.place

    def add_termination_listener(self, callback: Callable[[object], None]) -> None:
        self.ended.append(callback)

    def end(self) -> None:
        for callback in self.ended:
            callback(self)


async def test_what_is_remembered_holds_while_connections_lead_to_one_timeline():
    place, moved = Place("lab"), list[str]()
    place.moved = lambda: moved.append("")
    first, second, other, standby = map(Connection, ("7 1", "7 1", "7 2", ""))
    for each in (first, second, standby):
        await place.look(cast(PgConnection, each))
    first.end()
    assert moved == []
    await place.look(cast(PgConnection, other))
    assert len(moved) == 1, "the old primary is still connected, and another server writes"
    for each in (second, standby):
        each.end()
    assert len(moved) == 1
    other.end()
    assert len(moved) == 2, "nobody knows who is the primary now"


async def test_after_a_promotion_nothing_is_answered_from_memory(
    primary: PostgresServer, standby: PostgresServer
):
    """The old primary has committed and answered what its standby never got: it is done again, and not replayed."""

    async def sent(saga: str, attempt: int) -> Reply:
        metadata = saga_call(saga=saga)._replace(attempt=attempt).to_metadata()
        return await host.handle(PUT.path, put(saga), metadata, LIMIT_S)

    async def answered(saga: str) -> Reply | None:
        try:
            return await sent(saga, 2)
        except RpcError as error:
            if error.code is not Code.UNAVAILABLE:
                raise
            return None

    def kept(server: PostgresServer) -> list[str]:
        return server.sql("SELECT name FROM entries ORDER BY name", "lab").split()

    ledger = Ledger()
    url = (
        f"postgresql://{postgres_server.USER}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/lab"
        "?target_session_attrs=primary"
    )
    async with ledger_on(url, ledger) as host:
        await sent("kept", 1)
        caught_up = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"
        await eventually_async("the standby to catch up", lambda: primary.sql(caught_up), "1".__eq__)
        standby.sql("ALTER SYSTEM SET primary_conninfo = ''")
        standby.sql("SELECT pg_reload_conf()")
        await eventually_async(
            "the standby to hear nothing",
            lambda: standby.sql("SELECT count(*) FROM pg_stat_wal_receiver"),
            "0".__eq__,
        )
        await sent("lost", 1)
        assert (await sent("lost", 2)).trailers == {REPLAYED: "true"}
        assert kept(standby) == ["kept"]
        await asyncio.to_thread(primary.stop)
        await asyncio.to_thread(standby.promote)
        assert ledger.puts == 2
        found = await eventually_async("the promoted server to answer", lambda: answered("lost"), bool)
        assert found
        assert (found.trailers, ledger.puts) == ({}, 3), "it was answered from memory"
        assert (await sent("kept", 2)).trailers == {REPLAYED: "true"}
        assert kept(standby) == ["kept", "lost"]
