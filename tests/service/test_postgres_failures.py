"""A store in PostgreSQL while its server, its connections or its tables are taken away from under it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import cast

import asyncpg
import postgres_server
import pytest
from grpclib.const import Status as Code
from postgres_server import PostgresServer
from small_mesh import saga_call
from store_conformance import LONG_S, TABLES, Shop, reason
from waiting import eventually_async, under_load

from sagagen.runtime.clock import SystemClock
from sagagen.runtime.model.definition import ISOLATION, Isolation
from sagagen.runtime.postgres.connection import PgConnection, connect
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service.call import Db
from sagagen.runtime.service.postgres_store.db import PostgresDb
from sagagen.runtime.service.postgres_store.preparing import PostgresError, PostgresScripts
from sagagen.runtime.service.postgres_store.store import PostgresStore

pytestmark = pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of an empty database."""
    name = f"lab_{sha256(str(tmp_path).encode()).hexdigest()[:24]}"
    return postgres_server.shared_server().database(name)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """One that a test may stop."""
    with PostgresServer() as server:
        yield server


@asynccontextmanager
async def replicas(
    url: str, count: int = 2, *, isolation: Isolation = ISOLATION, hold_limit_s: float = LONG_S
) -> AsyncGenerator[list[Shop]]:
    async with AsyncExitStack() as stack:
        scripts = PostgresScripts(Path("lab.postgres.sql"), TABLES, {})
        yield [
            Shop(
                await stack.enter_async_context(
                    PostgresStore.open(
                        "lab", url, scripts, SystemClock(), isolation=isolation, hold_limit_s=hold_limit_s
                    )
                )
            )
            for _ in range(count)
        ]


@asynccontextmanager
async def asking(url: str) -> AsyncGenerator[PgConnection]:
    connection = await connect(url, "a test")
    try:
        yield connection
    finally:
        connection.terminate()


async def until_settled(shop: Shop, name: str, body: Callable[[Db], Awaitable[object]] | None = None) -> str:
    """As an engine does: again after whatever is in doubt."""
    while True:
        said = reason(await shop.act(name, body))
        if said != "UNAVAILABLE":
            return said
        await asyncio.sleep(0.005)


async def test_connections_that_the_server_ends_are_in_doubt_and_no_fault(url: str):
    """Whatever asyncpg is in the middle of when it hears of it: nothing but UNAVAILABLE comes out."""
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'sagagen lab'"
    )
    async with replicas(url) as shops, asking(url) as other:
        calls = [asyncio.create_task(until_settled(shops[n % 2], f"n{n}")) for n in range(150)]
        for _ in range(12):
            await other.fetch(end)
            await asyncio.sleep(0.04)
        assert Counter(await asyncio.gather(*calls)).keys() <= {"OK", "REPLAY"}
        assert await shops[0].effects() == sorted(f"n{n}" for n in range(150))


class _InTheMiddle:
    """A connection that the server has ended at the wrong moment, as asyncpg shows it."""

    is_over = False

    async def execute(self, query: str, *arguments: object) -> str:
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")

    def terminate(self) -> None:
        self.is_over = True

    def is_closed(self) -> bool:
        return self.is_over


async def test_a_connection_that_takes_no_statement_any_more_is_lost():
    connection = _InTheMiddle()
    with pytest.raises(RpcError) as error:
        await PostgresDb(cast(PgConnection, connection)).execute("SELECT 1")
    assert error.value.code is Code.UNAVAILABLE
    assert connection.is_over


@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read"])
async def test_a_table_that_gets_a_column_under_a_running_replica(url: str, isolation: Isolation):
    """A rolling change: what an old replica has prepared is prepared anew, and its call does not fail."""

    async def look(db: Db) -> None:
        await db.fetch("SELECT * FROM effects")

    async with replicas(url, 1, isolation=isolation) as (old,), asking(url) as other:
        assert reason(await old.act("a", look)) == "OK"
        await other.execute("ALTER TABLE effects ADD COLUMN note text")
        assert reason(await old.act("b", look)) == "OK"


async def test_handlers_that_wait_for_each_other_do_not_hold_up_the_rest(url: str):
    """Two rows, taken in two orders. Both give up before their time is over, and keep their connections."""
    async with (
        replicas(url, 1, hold_limit_s=0.6, isolation="read_committed") as (shop,),
        asking(url) as other,
    ):
        await other.execute("INSERT INTO numbers VALUES (1, 'a'), (1, 'b')")
        before = await _connections(other)
        both = asyncio.Barrier(2)

        def take(first: str, second: str) -> Callable[[Db], Awaitable[object]]:
            async def body(db: Db) -> None:
                await db.execute("UPDATE numbers SET number = number + 1 WHERE text = ?", (first,))
                await both.wait()
                await db.execute("UPDATE numbers SET number = number + 1 WHERE text = ?", (second,))

            return body

        said = await asyncio.gather(shop.act("x", take("a", "b")), shop.act("y", take("b", "a")))
        assert "UNAVAILABLE" in {reason(each) for each in said}
        after = await shop.act("z", lambda db: db.execute("UPDATE numbers SET number = 0"))
        assert reason(after) == "OK"
        assert await _connections(other) >= before


async def test_a_call_that_waits_in_vain_for_another_of_its_saga_keeps_its_connection(url: str):
    """To make a new one each time would cost most where there is least to spare."""
    async with replicas(url, 1, hold_limit_s=0.4) as (shop,), asking(url) as other:
        assert reason(await shop.act("before")) == "OK"
        before = await _connections(other)
        await other.execute("SELECT pg_advisory_lock(hashtextextended('sagagen_lab/a', 0))")
        assert reason(await shop.act("a")) == "UNAVAILABLE"
        await other.execute("SELECT pg_advisory_unlock_all()")
        assert reason(await shop.act("a")) == "OK"
        assert await _connections(other) == before


async def _connections(connection: PgConnection) -> set[int]:
    rows = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'sagagen lab'")
    return {row["pid"] for row in rows}


async def test_a_frozen_replica_holds_up_the_others_for_a_few_seconds_at_most(url: str):
    """Its transaction is open, and it says nothing. The server ends that; what it says later changes nothing."""
    async with replicas(url, 2, hold_limit_s=1.0) as (_, other), asking(url) as frozen:
        settings = [
            "role sagagen_lab_handlers",
            "default_transaction_isolation 'repeatable read'",
            *(f"{name} {value}" for name, value in _session_of(other).items() if "timeout" in name),
        ]
        for setting in settings:
            await frozen.execute(f"SET {setting.replace(' ', ' = ', 1)}")
        await frozen.execute("BEGIN")
        await frozen.fetch("SELECT * FROM sagagen_lab.enter('a', 'a', 'action')")
        begun_s = time.monotonic()
        assert await until_settled(other, "a") == "OK"
        assert time.monotonic() - begun_s < under_load(6.0)
        with pytest.raises(
            (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
        ):
            await frozen.execute("COMMIT")


def _session_of(_shop: Shop) -> dict[str, str]:
    from sagagen.runtime.postgres.connection import session_settings

    return session_settings(1.0, "", ISOLATION, is_read_only=False)


async def test_a_machine_that_is_gone_keeps_its_locks_for_a_minute_at_most(url: str):
    """No packet tells that it is gone; the server has to ask."""
    async with replicas(url, 1), asking(url) as other:
        asks = [
            int(await other.fetchval(f"SELECT current_setting('tcp_keepalives_{each}')"))
            for each in ("idle", "interval", "count")
        ]
    assert 0 < asks[0] + asks[1] * asks[2] <= 60


async def test_a_service_waits_for_a_server_that_starts(own_server: PostgresServer):
    """Crash recovery takes its time; a server that is not there at all is a mistake in the URL just as well."""
    url = own_server.database("lab")
    own_server.stop()
    with pytest.raises(PostgresError, match="can't be used"):
        async with replicas(url, 1):
            pass
    starting = asyncio.create_task(asyncio.to_thread(own_server.start))
    said = ""
    while not said:
        try:
            async with replicas(url, 1) as (shop,):
                said = reason(await shop.act("a"))
        except PostgresError as error:  # it does not listen yet
            said = "" if "starting up" not in str(error) else str(error)
    await starting
    assert said == "OK"


async def test_a_server_that_goes_while_a_service_starts_is_named(own_server: PostgresServer):
    """No traceback: the next start may find it again."""
    url = own_server.database("lab")
    async with asking(url) as other:
        await other.execute("SELECT pg_advisory_lock(hashtextextended('\"sagagen_lab\"', 0))")

        async def start() -> None:
            async with replicas(url, 1):
                pass

        starting = asyncio.create_task(start())
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await eventually_async("the start to wait", lambda: other.fetchval(waits))
        await asyncio.to_thread(own_server.stop)
        with pytest.raises(PostgresError, match="service lab: its database can't be used"):
            await starting


async def test_a_service_starts_while_a_call_of_another_replica_hangs(url: str):
    """Nor does it keep the calls of others waiting behind itself."""
    async with replicas(url, 1) as (shop,), asking(url) as frozen:
        await frozen.execute(f"BEGIN; {_recorded('a', 'DONE')}")
        async with replicas(url, 1) as (late,):
            assert reason(await late.act("b")) == "OK"
            assert reason(await shop.act("c")) == "OK"


def _recorded(saga: str, state: str, direction: str = "action") -> str:
    call = f"'{saga}', 'step', '{direction}', 'run', 1, 1"
    return f"SELECT sagagen_lab.record({call}, '', '{state}', '', '', '', false, false, false, NULL, NULL)"


@pytest.mark.parametrize(
    ("first", "late"),
    [("action", "compensation"), ("compensation", "action")],
    ids=["an action before its compensation", "a compensation before its action"],
)
async def test_a_manual_action_and_its_compensation_never_both_go_by_an_old_state(
    url: str, first: str, late: str
):
    """Both saw PENDING. What is committed second would know nothing of the first one's effects."""
    async with replicas(url, 1), asking(url) as one, asking(url) as other:
        await one.execute(_recorded("a", "PENDING"))
        await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert await other.fetchval("SELECT state FROM sagagen_lab.barrier WHERE saga = 'a'") == "PENDING"
        await one.execute(_recorded("a", "DONE", first))
        with pytest.raises(asyncpg.SerializationError):
            await other.execute(_recorded("a", "DONE", late))


async def test_a_call_that_is_cancelled_takes_no_locks_of_others_away(url: str):
    async with replicas(url) as (one, other):
        held, cancelled = saga_call(saga="held"), saga_call(saga="cancelled")
        assert await one.store.hold(held)

        async def ask() -> bool:
            return await one.store.hold(cancelled)

        for _ in range(10):
            asking_for = asyncio.create_task(ask())
            await asyncio.sleep(0)
            asking_for.cancel()
            await asyncio.wait({asking_for})
        assert not await other.store.hold(held)
        await eventually_async("the lock that nobody wants", lambda: other.store.hold(cancelled))


async def test_locks_of_manual_calls_are_had_back_when_their_connection_is_lost(url: str):
    async with replicas(url) as (one, other), asking(url) as operator:
        held = saga_call(saga="held")
        assert await one.store.hold(held)
        holder = (
            "SELECT coalesce(min(pid), 0) FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND datname = current_database()"
        )
        before = await operator.fetchval(holder)
        await operator.fetch("SELECT pg_terminate_backend($1)", before)
        await eventually_async(
            "the lock to be had again",
            lambda: operator.fetchval(holder),
            lambda pid: pid not in (0, before),
        )
        assert not await other.store.hold(held)
        await one.store.release(held)
        assert await other.store.hold(held)
