"""What only a store in PostgreSQL has to hold: replicas, isolation, a server that fails, rights and settings."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, cast

import asyncpg
import postgres_server
import pytest
from grpclib.const import Status as Code
from postgres_server import PostgresServer
from small_mesh import ManualClock, saga_call
from store_conformance import LONG_S, TABLES, Body, Shop, barred, effect, reason
from structlog.typing import EventDict

from sagagen.runtime.clock import Clock, SystemClock
from sagagen.runtime.model.definition import ISOLATION, Direction, Isolation
from sagagen.runtime.postgres.connection import PgConnection, connect
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import CallResult
from sagagen.runtime.service.barrier.rules import RecordEmpty, RunHandler, State
from sagagen.runtime.service.call import Db
from sagagen.runtime.service.postgres_store.db import PostgresDb
from sagagen.runtime.service.postgres_store.preparing import PostgresError, PostgresScripts
from sagagen.runtime.service.postgres_store.repeating import Met, Turns
from sagagen.runtime.service.postgres_store.store import PostgresStore
from sagagen.runtime.service.postgres_store.transaction import Transactions

pytestmark = pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-")

UNDO = Direction.COMPENSATION
ISOLATIONS: tuple[Isolation, ...] = ("read_committed", "repeatable_read", "serializable")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of an empty database."""
    return postgres_server.shared_server().database(f"lab_{abs(hash(str(tmp_path))):x}")


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """One that a test may stop."""
    with PostgresServer() as server:
        yield server


@asynccontextmanager
async def replicas(
    url: str,
    count: int = 2,
    *,
    isolation: Isolation = ISOLATION,
    clock: Clock | None = None,
    retention_s: float = 1e9,
    hold_limit_s: float = LONG_S,
) -> AsyncGenerator[list[Shop]]:
    """Processes of one service, as far as a store can tell."""
    async with AsyncExitStack() as stack:
        opened = [
            PostgresStore.open(
                "lab",
                url,
                scripts(),
                clock or SystemClock(),
                isolation=isolation,
                retention_s=retention_s,
                hold_limit_s=hold_limit_s,
            )
            for _ in range(count)
        ]
        yield [Shop(await stack.enter_async_context(each)) for each in opened]


def scripts(*changes: Path, base: str = TABLES) -> PostgresScripts:
    return PostgresScripts(Path("lab.postgres.sql"), base, dict(enumerate(changes, 1)))


def behind(db: Db) -> PgConnection:
    """The connection, without what the facade keeps from handlers."""
    assert isinstance(db, PostgresDb)
    return db._connection  # pyright: ignore[reportPrivateUsage]


async def until_settled(shop: Shop, name: str, body: Body, direction: Direction = Direction.ACTION) -> str:
    """As an engine does: again after whatever is in doubt."""
    while True:
        write = shop.act if direction is Direction.ACTION else shop.undo
        said = reason(await write(name, body))
        if said != "UNAVAILABLE":
            return said
        await asyncio.sleep(0.005)


# replicas


@pytest.mark.parametrize("isolation", ISOLATIONS)
async def test_replicas_share_one_barrier(url: str, isolation: Isolation):
    """Copies, both directions and several runs at once, at two replicas: each effect once, nothing half."""
    async with replicas(url, isolation=isolation) as shops:
        random = Random(7)

        async def storm(number: int) -> None:
            name = f"n{number}"
            calls = [(Direction.ACTION, "first")] * 3 + [(Direction.COMPENSATION, "first")] * 2
            calls += [(Direction.ACTION, "second")] * 2
            random.shuffle(calls)

            async def one(direction: Direction, run: str) -> None:
                shop = random.choice(shops)
                call = saga_call(f"step {random.choice('ab')}", direction, saga=name, run=run)
                await shop.write(call, effect(f"{name} {call.step} {run} {direction.value}"))

            await asyncio.gather(*(one(*each) for each in calls))

        await asyncio.gather(*(storm(number) for number in range(25)))
        found = Counter(await shops[0].effects())
        assert set(found.values()) == {1}
        assert all(each.replace("compensation", "action") in found for each in found)
        runs = {tuple(each.split(" ")[0:4:3]) for each in found}
        assert len(runs) == len({name for name, _ in runs}), "two runs of a saga had effects"


class Stale:
    """A connection whose transactions see what was there before something else was committed."""

    def __init__(self, connection: PgConnection, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._connection = connection
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, query: str, *args: Any) -> str:
        before, begin, rest = query.rpartition("BEGIN; ")
        if query != "BEGIN" and not begin:
            return await self._connection.execute(query, *args)
        said = await self._connection.execute(f"{before}BEGIN")
        await self._connection.fetchval("SELECT 1")  # of this state is all that follows
        await self._meanwhile()
        return await self._connection.execute(rest) if begin else said


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (saga_call("a"), saga_call("a")),
        (saga_call("a"), saga_call("a", UNDO)),
        (saga_call("a", UNDO), saga_call("a")),
        (saga_call("a", run="second"), saga_call("b", run="first")),
    ],
    ids=["copies", "an action after its compensation", "a compensation after its action", "two runs"],
)
async def test_what_was_decided_on_an_old_state_can_not_be_committed(
    url: str, isolation: Isolation, mine: SagaCall, theirs: SagaCall
):
    """The lock was free again when it was asked for: only keys can tell."""
    async with replicas(url, 1, isolation=isolation) as (shop,):
        if mine.run == theirs.run:  # else the row that names the run would be the key that tells
            await shop.write(saga_call("before"), effect("before"))
        transactions = Transactions('"sagagen_lab"', isolation)
        connection = await connect(url, "lab")
        await connection.execute(f"SET default_transaction_isolation = '{isolation.replace('_', ' ')}'")
        stale = cast(PgConnection, Stale(connection, lambda: shop.write(theirs, effect("theirs"))))
        entered = await transactions.begin(stale, barred(mine), SystemClock().wall_ms(), 0)
        assert isinstance(entered.decision, RunHandler | RecordEmpty), "it saw nothing of theirs"
        record = barred(mine).record(State.DONE if mine.direction is Direction.ACTION else State.EMPTY)
        assert record
        with pytest.raises((asyncpg.UniqueViolationError, asyncpg.SerializationError)):
            await transactions.commit(connection, entered, record)
        connection.terminate()


async def test_a_row_without_keys_is_written_once_by_copies_at_replicas(url: str):
    async with replicas(url, 3) as shops:
        said = await asyncio.gather(*(until_settled(shop, "a", effect("a")) for shop in shops * 10))
        assert Counter(said) == {"OK": 1, "REPLAY": 29}
        assert await shops[0].effects() == ["a"]


async def test_a_manual_call_runs_in_one_replica(url: str):
    async with replicas(url) as (one, other):
        call = saga_call(saga="a")
        assert [await one.store.hold(call), await one.store.hold(call)] == [True, True]
        assert not await other.store.hold(call)
        assert await other.store.is_held_elsewhere(call)
        assert not await one.store.is_held_elsewhere(call)
        await one.store.release(call)
        assert not await other.store.is_held_elsewhere(call)
        assert await other.store.hold(call)
    async with replicas(url, 1) as (later,):
        assert await later.store.hold(call), "a process that has ended holds nothing"


# isolation


def test_the_example_of_the_docs_prints_what_the_docs_say(url: str):
    page = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text(encoding="utf-8")
    program, said = page.partition("`python isolation.py")[2].split("```")[1:4:2]
    ran = subprocess.run(
        [sys.executable, "-c", program.removeprefix("python\n"), url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split() == said.split(), ran.stderr


async def lost_update(shop: Shop, name: str) -> str:
    """Reads, then writes what it has computed: the next reader must see it."""

    async def body(db: Db) -> None:
        rows = await db.fetch("SELECT number FROM numbers")
        await asyncio.sleep(0.001)
        await db.execute("UPDATE numbers SET number = ?", (rows[0]["number"] + 1,))

    return await until_settled(shop, name, body)


@pytest.mark.parametrize(("isolation", "is_safe"), [(each, each != "read_committed") for each in ISOLATIONS])
async def test_updates_that_are_lost(url: str, isolation: Isolation, is_safe: bool):
    async with replicas(url, isolation=isolation) as shops:
        await shops[0].act("seed", lambda db: db.execute("INSERT INTO numbers VALUES (0, NULL)"))
        said = await asyncio.gather(*(lost_update(shops[n % 2], f"n{n}") for n in range(24)))
        assert set(said) == {"OK"}
        async with shops[0].store.read() as db:
            kept = (await db.fetch("SELECT number FROM numbers"))[0]["number"]
        assert (kept == 24) is is_safe, kept


@pytest.mark.parametrize(("isolation", "is_safe"), [(each, each == "serializable") for each in ISOLATIONS])
async def test_writes_that_are_skewed(url: str, isolation: Isolation, is_safe: bool):
    """Each takes itself off duty if another one is on it: nobody is left where neither sees what the other writes."""
    both_read = asyncio.Barrier(2)

    async def leave(me: int, db: Db) -> None:
        (on_duty,) = await db.fetch("SELECT count(*) AS n FROM numbers WHERE text = 'on'")
        if not both_read.broken:
            try:
                async with asyncio.timeout(1):
                    await both_read.wait()
            except (TimeoutError, asyncio.BrokenBarrierError):
                await both_read.abort()
        if on_duty["n"] > 1:
            await db.execute("UPDATE numbers SET text = 'off' WHERE number = ?", (me,))

    async with replicas(url, isolation=isolation) as shops:
        for me in (1, 2):
            await shops[0].act(
                f"s{me}", lambda db, me=me: db.execute("INSERT INTO numbers VALUES (?, 'on')", (me,))
            )
        await asyncio.gather(
            *(until_settled(shop, f"n{me}", partial(leave, me)) for me, shop in enumerate(shops, 1))
        )
        async with shops[0].store.read() as db:
            left = (await db.fetch("SELECT count(*) AS n FROM numbers WHERE text = 'on'"))[0]["n"]
        assert (left == 1) is is_safe, left


@pytest.mark.parametrize("isolation", ISOLATIONS)
async def test_a_hot_row_under_sixteen_at_once(url: str, isolation: Isolation):
    async def take(db: Db) -> None:
        await db.execute("UPDATE numbers SET number = number - 1 WHERE number > 0")

    async with replicas(url, isolation=isolation) as shops:
        await shops[0].act("seed", lambda db: db.execute("INSERT INTO numbers VALUES (100, NULL)"))
        said = await asyncio.gather(*(until_settled(shops[n % 2], f"n{n}", take) for n in range(48)))
        assert set(said) == {"OK"}
        async with shops[0].store.read() as db:
            assert (await db.fetch("SELECT number FROM numbers"))[0]["number"] == 52


async def test_a_connection_that_has_lost_its_isolation_is_not_used(
    url: str, monkeypatch: pytest.MonkeyPatch
):
    """As behind pgbouncer with `ignore_startup_parameters`: updates would be lost, and nobody would know."""
    connect = cast(Any, asyncpg).connect

    def without_settings(url: str, **others: Any) -> Any:
        return connect(url, **{**others, "server_settings": {}})

    monkeypatch.setattr(asyncpg, "connect", without_settings)
    with pytest.raises(PostgresError, match="most likely a pooler; name the server itself"):
        async with replicas(url, 1):
            pass


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_nobody_is_turned_away_from_a_hot_row(url: str, isolation: Isolation):
    """Who has met another call is repeated in its turn, and who comes meanwhile lines up behind."""

    async def take(db: Db) -> None:
        (row,) = await db.fetch("SELECT number FROM numbers WHERE text = ?", ("hot",))
        await db.execute("UPDATE numbers SET number = ? WHERE text = ?", (row["number"] - 1, "hot"))

    async with replicas(url, isolation=isolation) as shops:
        await shops[0].act("seed", lambda db: db.execute("INSERT INTO numbers VALUES (100, 'hot')"))
        said = await asyncio.gather(*(shops[n % 2].act(f"n{n}", take) for n in range(48)))
        assert {reason(each) for each in said} == {"OK"}
        async with shops[0].store.read() as db:
            assert (await db.fetch("SELECT number FROM numbers"))[0]["number"] == 52


async def test_a_turn_is_of_a_row_as_far_as_a_statement_tells():
    turns, update = Turns(), "UPDATE stock SET available = $1 WHERE product_id = $2"
    async with turns.turn(Met.at(update, (7, "hot"))) as table:
        async with turns.turn(Met.at(update, (6, "hot"))) as other:
            assert (table, other) == (table, table), "one statement's repeats take turns in every replica"
        assert turns.is_waited_for(update, (5, "hot"))
        assert not turns.is_waited_for(update, (7, "cold"))
        assert not turns.is_waited_for("SELECT 1", (7, "hot"))
        assert not turns.is_waited_for(update, (7,)), "where nothing has a name, numbers tell"
    assert not turns.is_waited_for(update, (7, "hot")), "the line is gone"


async def test_a_conflict_that_the_handler_swallows_is_repeated_all_the_same(url: str):
    ran: list[str] = []

    async def body(db: Db) -> None:
        ran.append("")
        try:
            (row,) = await db.fetch("SELECT number FROM numbers")
            if len(ran) == 1:
                await other.act("between", lambda db: db.execute("UPDATE numbers SET number = number + 10"))
            await db.execute("UPDATE numbers SET number = ?", (row["number"] + 1,))
        except Exception:  # noqa: BLE001, S110 - what a careless handler does
            pass

    async with replicas(url) as (shop, other):
        await shop.act("seed", lambda db: db.execute("INSERT INTO numbers VALUES (0, NULL)"))
        assert reason(await shop.act("a", body)) == "OK"
        async with shop.store.read() as db:
            assert (len(ran), (await db.fetch("SELECT number FROM numbers"))[0]["number"]) == (2, 11)


async def test_a_handler_that_goes_on_after_a_failed_statement_has_done_nothing(
    url: str, log_lines: list[EventDict]
):
    """PostgreSQL would answer its COMMIT with ROLLBACK, and no error."""

    async def body(db: Db) -> None:
        await db.execute("INSERT INTO effects VALUES ('a')")
        with pytest.raises(asyncpg.PostgresError):
            await db.execute("SELECT 1 / 0")
        with pytest.raises(Exception, match=r"call\.db\.attempt"):
            await db.execute("INSERT INTO effects VALUES ('b')")

    async with replicas(url, 1) as (shop,):
        assert reason(await shop.act("a", body)) == "INTERNAL"
        assert await shop.effects() == []
        assert any("division by zero" in str(line.get("error")) for line in log_lines)
        assert reason(await shop.act("a")) == "OK"


async def test_a_commit_that_says_rollback_is_no_success(url: str):
    async with replicas(url, 1) as (shop,):

        async def body(db: Db) -> None:
            await effect("a")(db)
            connection = behind(db)
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute("SELECT 1 / 0")

        assert reason(await shop.act("a", body)) == "UNAVAILABLE"
        assert await shop.effects() == []


# a purge between rows and watermark


async def test_no_call_looks_new_while_what_it_did_is_forgotten(url: str):
    clock = ManualClock(10_000_000)
    async with replicas(url, clock=clock, retention_s=1) as (shop, other):
        for number in range(40):
            await shop.act(f"n{number}", started_ms=clock.ms)
        clock.advance(3600)
        await shop.act("newest", started_ms=clock.ms)

        async def again(number: int) -> str:
            call = saga_call(saga=f"n{number}", started_ms=10_000_000)
            return reason(await other.write(call, effect("twice")))

        repeats = [asyncio.create_task(again(number)) for number in range(40)]
        await asyncio.gather(shop.store.purge(), other.store.purge())
        assert {await each for each in repeats} <= {"REPLAY", "FORGOTTEN"}
        assert "twice" not in await shop.effects()
        assert await again(3) == "FORGOTTEN"


# the server


async def test_a_server_that_crashes_loses_nothing(own_server: PostgresServer):
    """Stopped at once and started again under calls, with repeats as an engine sends them."""
    url = own_server.database("lab")
    async with replicas(url) as shops:
        calls = [
            asyncio.create_task(until_settled(shops[n % 2], f"n{n}", effect(f"n{n}"))) for n in range(200)
        ]
        done = asyncio.gather(*calls)
        for _ in range(2):
            await asyncio.sleep(0.05)
            await asyncio.to_thread(own_server.stop)
            assert "reached" in await shops[0].store.check()
            await asyncio.to_thread(own_server.start)
        async with asyncio.timeout(120):
            said = Counter(await done)
        assert set(said) <= {"OK", "REPLAY"}
        assert await shops[0].effects() == sorted(f"n{n}" for n in range(200))
        assert await shops[0].store.check() == ""


async def test_what_is_lost_between_two_calls_is_unavailable_and_no_fault(own_server: PostgresServer):
    """A connection of the pool that the server has closed meanwhile is found out by whoever uses it next."""
    async with replicas(own_server.database("lab"), 1) as (shop,):
        await shop.act("a")
        assert await shop.effects() == ["a"]
        own_server.stop()
        own_server.start()
        said: list[Code] = []
        while len(said) < 5:
            try:
                assert await shop.effects() == ["a"]
                break
            except RpcError as error:
                said.append(error.code)
        assert set(said) <= {Code.UNAVAILABLE}
        assert await until_settled(shop, "b", effect("b")) == "OK"

        async def lose(db: Db) -> None:
            own_server.stop()
            own_server.start()
            with pytest.raises(RpcError, match="the connection to the database was lost"):
                await effect("c")(db)

        assert reason(await shop.act("c", lose)) == "UNAVAILABLE"
        assert await until_settled(shop, "c", effect("c")) == "OK"


async def test_a_turn_that_conflicts_is_no_turn(url: str):
    """A manual call that has no effect any more, and finds out only when it records that."""
    async with replicas(url) as (shop, other):
        call = barred(saga_call("a", UNDO, saga="a"))
        store = cast(Any, shop.store)
        begin = store._transactions.begin

        def begin_on_an_old_state(connection: PgConnection, *rest: Any) -> Any:
            return begin(Stale(connection, lambda: other.undo("a", step="a")), *rest)

        store._transactions.begin = begin_on_an_old_state
        found = await shop.store.turn(call, asyncio.timeout(None))
        assert isinstance(found, CallResult)
        assert reason(found) == "UNAVAILABLE"


async def test_what_a_client_has_left_is_ended(url: str):
    """A replica that is gone in the middle of a call keeps nothing locked."""
    async with replicas(url) as (shop, other):
        gate = asyncio.Event()

        async def hang(db: Db) -> None:
            await effect("a")(db)
            gate.set()
            await asyncio.Event().wait()

        hanging = asyncio.create_task(shop.act("a", hang))
        await gate.wait()
        hanging.cancel()
        assert await until_settled(other, "a", effect("b")) == "OK"
        assert await other.effects() == ["b"]


async def test_a_frozen_server_is_in_doubt_and_recovers(own_server: PostgresServer):
    url = own_server.database("lab")
    async with replicas(url, 1, hold_limit_s=0.3) as (shop,):
        assert reason(await shop.act("before")) == "OK"
        own_server.freeze()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await shop.act("a")
        finally:
            own_server.thaw()
        assert await until_settled(shop, "a", effect("a")) in ("OK", "REPLAY")
        assert await shop.effects() == ["a", "before"]


# start


@pytest.mark.parametrize(
    ("setting", "said"),
    [("fsync=off", "`fsync` is off"), ("full_page_writes=off", "`full_page_writes` is off")],
)
async def test_a_server_that_would_lose_commits_is_refused(setting: str, said: str):
    with PostgresServer("-c", setting) as server, pytest.raises(PostgresError, match=said):
        async with replicas(server.database("lab"), 1):
            pass


async def test_changes_are_applied_once_whoever_is_first(url: str, tmp_path: Path):
    change = tmp_path / "lab.postgres.001.sql"
    change.write_text("CREATE TABLE more (a int); INSERT INTO effects VALUES ('changed');")

    async def start(stack: AsyncExitStack) -> Shop:
        return Shop(
            await stack.enter_async_context(PostgresStore.open("lab", url, scripts(change), SystemClock()))
        )

    async with AsyncExitStack() as stack:
        shops = await asyncio.gather(*(start(stack) for _ in range(4)))
        assert await shops[0].effects() == ["changed"]
    with pytest.raises(PostgresError, match="start the newer release again"):
        async with replicas(url, 1):
            pass


async def test_a_change_that_fails_leaves_nothing_of_itself(url: str, tmp_path: Path):
    change = tmp_path / "lab.postgres.001.sql"
    change.write_text("CREATE TABLE more (a int); CREATE TABLE more (a int);")
    with pytest.raises(PostgresError, match=r"lab\.postgres\.001\.sql: .*nothing of it was applied"):
        async with PostgresStore.open("lab", url, scripts(change), SystemClock()):
            pass
    async with replicas(url, 1) as (shop,):
        assert reason(await shop.act("a")) == "OK"


async def test_services_may_share_a_database(url: str):
    async with (
        PostgresStore.open("one", url, scripts(), SystemClock()) as one,
        PostgresStore.open("two", url, scripts(), SystemClock()) as two,
    ):
        said = [reason(await Shop(store).act("a", effect("x"))) for store in (one, two, one, two)]
        assert said == ["OK", "OK", "REPLAY", "REPLAY"]


async def test_handlers_have_no_rights_on_the_barrier(url: str):
    """Also behind the facade's back."""

    async def body(db: Db) -> None:
        connection = behind(db)
        assert await connection.fetchval("SELECT current_user") == "sagagen_lab_handlers"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM sagagen_lab.barrier")

    async with replicas(url, 1) as (shop,):
        await shop.act("kept")
        await shop.act("a", body)
        assert reason(await shop.act("kept")) == "REPLAY"


def test_a_service_without_its_sql_is_named(tmp_path: Path):
    (tmp_path / "order.sql").write_text("")
    with pytest.raises(PostgresError, match=r"order\.postgres\.sql is missing: write it"):
        PostgresScripts.read(tmp_path / "order.sql")
    (tmp_path / "order.postgres.sql").write_text("")
    for name in ("order.postgres.002.sql", "order.postgres.001.sql", "order.001.sql", "order.postgres.x.sql"):
        (tmp_path / name).write_text("")
    assert sorted(PostgresScripts.read(tmp_path / "order.sql").change_files) == [1, 2]
