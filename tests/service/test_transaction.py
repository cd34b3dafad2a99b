"""The one writer of a service: turns, groups, commits, and everything that may go wrong between them."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from grpclib.const import Status as Code
from small_mesh import ManualClock, saga_call
from structlog.typing import EventDict
from waiting import LIMIT_S

from sagagen.runtime.clock import Clock, SystemClock
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Handled
from sagagen.runtime.service.barrier.rules import State
from sagagen.runtime.service.call import Db, StatementNotAllowed, TransactionEnded
from sagagen.runtime.service.sqlite_store import writer as writer_module
from sagagen.runtime.service.sqlite_store.guard import TransactionLost
from sagagen.runtime.service.sqlite_store.sql_files import Scripts, prepare
from sagagen.runtime.service.sqlite_store.writer import Writer
from sagagen.runtime.service.store import Turn

TABLES = """
CREATE TABLE entries (name TEXT PRIMARY KEY, amount INTEGER);
CREATE TABLE owners (id INTEGER PRIMARY KEY);
CREATE TABLE pets (owner INTEGER REFERENCES owners DEFERRABLE INITIALLY DEFERRED);
CREATE VIRTUAL TABLE notes USING fts5(text);
"""

Body = Callable[[Db], Awaitable[object]]


class Desk:
    """Hands writes to a writer, and looks at the file from outside."""

    def __init__(self, writer: Writer, path: Path) -> None:
        self.writer = writer
        self.path = path

    async def write(self, name: str, body: Body | None = None) -> CallResult:
        """One saga's action; without a body it inserts a row of its name."""
        write = BarredCall(saga_call(saga=name), b"digest", None, name)

        async def run(turn: Turn) -> Handled:
            try:
                await (body(turn.db) if body else insert(turn.db, name))
            except Exception as error:  # noqa: BLE001 - as a service does
                return Handled(CallResult(error=RpcError(Code.INTERNAL, repr(error))))
            return Handled(
                CallResult(name.encode()), write.record(State.DONE, name.encode()), keeps_effects=True
            )

        return await self.writer.write(write, run)

    def names(self) -> set[str]:
        return {name for (name,) in self.query("SELECT name FROM entries")}

    def recorded(self) -> set[str]:
        return {saga for (saga,) in self.query("SELECT saga FROM sagagen_barrier")}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    async def in_connection(self, work: Callable[[sqlite3.Connection], object]) -> None:
        session = self.writer._session  # pyright: ignore[reportPrivateUsage] - a test plants what nobody should
        assert session is not None
        await session.database.in_thread(work)


async def insert(db: Db, name: str) -> None:
    await db.execute("INSERT INTO entries VALUES (?, 1)", (name,))


@asynccontextmanager
async def desk_at(
    folder: Path, *, clock: Clock | None = None, hold_limit_s: float = 1.0
) -> AsyncGenerator[Desk]:
    path = folder / "desk.db"
    await prepare(path, Scripts(folder / "desk.sql", TABLES, {}, {}))
    async with Writer.open(path, clock or SystemClock(), hold_limit_s=hold_limit_s) as writer:
        yield Desk(writer, path)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk]:
    async with desk_at(tmp_path) as desk:
        yield desk


@pytest.fixture
async def timeless(tmp_path: Path) -> AsyncGenerator[Desk]:
    """Groups end when nobody waits or they are full, but not by time."""
    async with desk_at(tmp_path, clock=ManualClock(1_000_000), hold_limit_s=30.0) as desk:
        yield desk


class Gate:
    """A body that waits in its turn."""

    def __init__(self, name: str) -> None:
        self.entered, self.released = asyncio.Event(), asyncio.Event()
        self._name = name

    async def __call__(self, db: Db) -> None:
        await insert(db, self._name)
        self.entered.set()
        await self.released.wait()


async def test_no_reply_leaves_before_the_commit_and_one_commit_serves_many(timeless: Desk):
    last = Gate("last")
    early = [asyncio.create_task(timeless.write(f"n{n}")) for n in range(5)]
    late = asyncio.create_task(timeless.write("last", last))
    await last.entered.wait()
    assert not any(task.done() for task in early)
    assert timeless.names() == set()
    last.released.set()
    outcomes = await asyncio.gather(*early, late)
    assert all(outcome.error is None for outcome in outcomes)
    assert timeless.names() == timeless.recorded() == {"n0", "n1", "n2", "n3", "n4", "last"}


async def test_a_group_takes_no_more_than_its_limit(timeless: Desk):
    gate = Gate("33")
    group = [asyncio.create_task(timeless.write(f"n{n}")) for n in range(writer_module.GROUP_CALLS)]
    beyond = asyncio.create_task(timeless.write("33", gate))
    await gate.entered.wait()
    assert len(timeless.names()) == writer_module.GROUP_CALLS
    gate.released.set()
    await asyncio.gather(*group, beyond)


async def test_a_group_ends_after_its_time_though_others_wait(tmp_path: Path):
    clock = ManualClock(1_000_000)
    async with desk_at(tmp_path, clock=clock, hold_limit_s=30.0) as desk:
        first, second = Gate("first"), Gate("second")
        tasks = [
            asyncio.create_task(desk.write("first", first)),
            asyncio.create_task(desk.write("second", second)),
        ]
        await first.entered.wait()
        clock.advance(writer_module.GROUP_S + 0.001)
        first.released.set()
        async with asyncio.timeout(LIMIT_S):
            await tasks[0]
        assert desk.names() == {"first"}
        second.released.set()
        await tasks[1]


async def test_cancelling_after_the_handler_does_not_undo_what_it_did(timeless: Desk):
    gate = Gate("second")
    first = asyncio.create_task(timeless.write("first"))
    second = asyncio.create_task(timeless.write("second", gate))
    await gate.entered.wait()
    first.cancel()
    gate.released.set()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert timeless.names() == timeless.recorded() == {"first", "second"}


async def test_cancelling_in_the_handler_undoes_this_call_alone(timeless: Desk):
    gate = Gate("second")
    first = asyncio.create_task(timeless.write("first"))
    second = asyncio.create_task(timeless.write("second", gate))
    third = asyncio.create_task(timeless.write("third"))
    await gate.entered.wait()
    second.cancel()
    await asyncio.gather(first, third)
    assert timeless.names() == timeless.recorded() == {"first", "third"}
    assert (await timeless.write("second")).response == b"second"


async def test_cancelling_in_the_queue_never_runs_the_handler(desk: Desk):
    gate = Gate("first")
    first = asyncio.create_task(desk.write("first", gate))
    await gate.entered.wait()
    second = asyncio.create_task(desk.write("second"))
    await asyncio.sleep(0)
    second.cancel()
    gate.released.set()
    await first
    assert desk.names() == {"first"}


async def test_a_failing_handler_undoes_only_itself(timeless: Desk):
    async def fail(db: Db) -> None:
        await insert(db, "bad")
        raise ValueError("no")

    good, bad, also_good = await asyncio.gather(
        timeless.write("good"), timeless.write("bad", fail), timeless.write("also good")
    )
    assert good.error is None
    assert also_good.error is None
    assert bad.error is not None
    assert timeless.names() == timeless.recorded() == {"good", "also good"}


async def rollback_all(db: Db) -> None:
    await insert(db, "void")
    await db.execute("INSERT OR ROLLBACK INTO entries VALUES ('void', 1)")


async def rollback_and_go_on(db: Db) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        await rollback_all(db)
    with pytest.raises(TransactionLost):
        await insert(db, "outside any transaction")


async def break_a_deferred_rule(db: Db) -> None:
    await db.execute("INSERT INTO pets VALUES (4711)")


@pytest.mark.parametrize("body", [rollback_all, rollback_and_go_on, break_a_deferred_rule])
async def test_a_void_group_has_no_effect_is_in_doubt_and_harms_nobody_later(timeless: Desk, body: Body):
    outcomes = await asyncio.gather(
        timeless.write("before"), timeless.write("void", body), timeless.write("after", None)
    )
    codes = [outcome.error.code if outcome.error else None for outcome in outcomes]
    assert codes[:2] == [Code.UNAVAILABLE, Code.UNAVAILABLE]
    assert timeless.names() <= {"after"}
    assert timeless.names() == timeless.recorded()
    again = await asyncio.gather(
        timeless.write("before"), timeless.write("void", body), timeless.write("after")
    )
    assert again[0].error is None
    assert again[1].error is not None
    assert again[2].error is None
    assert timeless.names() == timeless.recorded() == {"before", "after"}


async def test_a_full_disk_is_in_doubt_and_passes(desk: Desk):
    async def much(db: Db) -> None:
        await db.execute("INSERT INTO entries VALUES ('much', zeroblob(1000000))")

    await desk.write("small")
    await desk.in_connection(lambda c: c.execute("PRAGMA max_page_count = 1").fetchone())
    outcome = await desk.write("much", much)
    assert outcome.error is not None
    assert outcome.error.code is Code.UNAVAILABLE
    assert desk.names() == desk.recorded() == {"small"}
    assert (await desk.write("much", much)).error is None  # the limit was the old connection's
    assert desk.names() == desk.recorded() == {"small", "much"}


async def test_a_database_that_can_not_be_opened_turns_calls_away_until_it_can(desk: Desk):
    hidden = desk.path.with_name("hidden")
    await desk.write("void", rollback_all)  # closes the connection
    desk.path.rename(hidden)
    desk.path.mkdir()
    lost = await desk.write("lost")
    assert lost.error is not None
    assert lost.error.code is Code.UNAVAILABLE
    desk.path.rmdir()
    hidden.rename(desk.path)
    assert (await desk.write("found")).error is None


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN",
        "BEGIN IMMEDIATE",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT mine",
        "SAVEPOINT sagagen_call",
        "RELEASE sagagen_call",
        "ROLLBACK TO sagagen_call",
        "ATTACH ':memory:' AS other",
        "PRAGMA synchronous = OFF",
        "PRAGMA user_version",
        "DELETE FROM sagagen_barrier",
        "DROP TABLE sagagen_meta",
    ],
)
async def test_a_handler_can_not_touch_what_is_the_runtimes(desk: Desk, sql: str):
    async def try_it(db: Db) -> None:
        await insert(db, "kept")
        with pytest.raises(StatementNotAllowed):
            await db.execute(sql)

    await desk.write("first")  # the runtime's own statements are prepared and kept by now
    assert (await desk.write("second", try_it)).error is None
    assert desk.names() == {"first", "kept"}


async def test_the_facade_counts_rows_reads_returning_and_many(desk: Desk):
    async def body(db: Db) -> None:
        assert await db.executemany("INSERT INTO entries VALUES (?, ?)", [("a", 1), ("b", 2), ("c", 3)]) == 3
        assert await db.execute("UPDATE entries SET amount = 9 WHERE amount > ?", (1,)) == 2
        assert await db.execute("UPDATE entries SET amount = 8 WHERE name = :name", {"name": "z"}) == 0
        assert await db.execute("SELECT 1") == 0
        assert await db.execute("DELETE FROM entries WHERE name = 'a' RETURNING name") == 1
        rows = await db.fetch("UPDATE entries SET amount = 5 RETURNING name, amount AS much")
        assert [(row["name"], row["much"], row[0]) for row in rows] == [("b", 5, "b"), ("c", 5, "c")]
        await db.execute("INSERT INTO notes VALUES ('full text search')")
        assert len(await db.fetch("SELECT * FROM notes WHERE notes MATCH 'search'")) == 1

    assert (await desk.write("x", body)).error is None
    assert desk.names() == {"b", "c"}


async def test_the_transaction_is_gone_when_its_handler_has_returned(desk: Desk):
    kept: list[Db] = []

    async def keep(db: Db) -> None:
        kept.append(db)

    await desk.write("x", keep)
    with pytest.raises(TransactionEnded):
        await insert(kept[0], "late")
    assert desk.names() == set()


async def test_a_slow_handler_is_rolled_back_and_named(tmp_path: Path, log_lines: list[EventDict]):
    async with desk_at(tmp_path, hold_limit_s=0.2) as desk:
        outcome = await desk.write("slow", Gate("slow"))
        assert outcome.error is not None
        assert (outcome.error.code, outcome.error.is_ours) == (Code.UNAVAILABLE, False)
        assert desk.names() == set()
        (line,) = log_lines
        assert (line["log_level"], line["rpc"]) == ("warning", "slow")
        assert (await desk.write("quick")).error is None


async def test_a_handler_is_cancelled_before_it_loses_its_turn_however_late_that_is(tmp_path: Path):
    was_cancelled = asyncio.Event()

    async def stall(db: Db) -> None:
        await insert(db, "slow")
        time.sleep(0.5)  # the whole loop stands still for longer than both limits
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    async with desk_at(tmp_path, hold_limit_s=0.1) as desk:
        async with asyncio.timeout(60):
            outcome = await desk.write("slow", stall)
        assert outcome.error is not None
        assert was_cancelled.is_set()
        assert desk.names() == set()


async def test_a_handler_that_ignores_its_cancellation_loses_its_turn(tmp_path: Path):
    entered, released = asyncio.Event(), asyncio.Event()

    async def stubborn(db: Db) -> None:
        entered.set()
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        await insert(db, "stubborn")

    async with desk_at(tmp_path, hold_limit_s=0.2) as desk:
        slow = asyncio.create_task(desk.write("stubborn", stubborn))
        await entered.wait()
        assert (await desk.write("patient")).error is None
        released.set()
        assert (await slow).error is not None
        assert desk.names() == {"patient"}


async def test_a_statement_that_never_ends_is_interrupted(tmp_path: Path):
    async def endless(db: Db) -> None:
        await db.fetch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE i < 0"
        )

    async with desk_at(tmp_path, hold_limit_s=0.2) as desk:
        assert (await desk.write("endless", endless)).error is not None
        assert (await desk.write("patient")).error is None
        assert desk.names() == {"patient"}


async def test_more_than_may_wait_is_turned_away_early(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer_module, "MAX_WAITING", 2)
    gate = Gate("first")
    first = asyncio.create_task(desk.write("first", gate))
    await gate.entered.wait()
    waiting = [asyncio.create_task(desk.write(f"n{n}")) for n in range(3)]
    await asyncio.gather(first, _release(gate))
    *_, turned_away = await asyncio.gather(*waiting)
    assert turned_away.error is not None
    assert turned_away.error.code is Code.RESOURCE_EXHAUSTED
    assert turned_away.error.retry_after_s is not None
    assert desk.names() == {"first", "n0", "n1"}


async def _release(gate: Gate) -> None:
    gate.released.set()


async def test_a_storm_of_timeouts_leaves_the_writer_whole(desk: Desk):
    async def hurried(n: int) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(desk.write(f"storm {n}"), (n % 50) / 10_000)

    await asyncio.gather(*(hurried(n) for n in range(1_500)))
    outcomes = await asyncio.gather(*(desk.write(f"later {n}") for n in range(500)))
    assert all(outcome.error is None for outcome in outcomes)
    assert desk.names() == desk.recorded()
    assert {name for name in desk.names() if name.startswith("later")} == {f"later {n}" for n in range(500)}


SLOW_SQL = (
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT sum(i) FROM n"
)


def body_of(kind: int, name: str, strays: set[asyncio.Task[Any]]) -> Body:
    """One of the ways in which handlers are slow, fail or leave something behind."""

    async def body(db: Db) -> None:
        await insert(db, name)
        match kind:
            case 0:
                await asyncio.sleep(0.001)
            case 1:
                await db.fetch(SLOW_SQL)
            case 2:
                strays.add(asyncio.create_task(db.fetch(SLOW_SQL)))
                await asyncio.sleep(0)  # so that it has reached the thread when the handler ends
            case 3:
                raise ValueError(name)
            case 4:
                await db.execute("INSERT OR ROLLBACK INTO entries VALUES (?, 1)", (name,))
            case 5:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.002)
            case _:
                pass

    return body


@pytest.mark.parametrize("seed", range(8))
async def test_a_storm_of_every_kind_of_handler_leaves_the_writer_whole(desk: Desk, seed: int):
    random = Random(seed)
    strays: set[asyncio.Task[Any]] = set()
    told: dict[str, CallResult] = {}

    async def hurried(name: str) -> None:
        body = body_of(
            random.choice([0, 1, 2, 3, 5, 6, 6, 6] if random.random() < 0.99 else [4]), name, strays
        )
        await asyncio.sleep(random.random() * 0.1)
        with suppress(TimeoutError):
            told[name] = await asyncio.wait_for(
                desk.write(name, body), random.choice([LIMIT_S, 0.05, 0.001, 0])
            )

    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*(hurried(f"n{n}") for n in range(300)))
        assert (await desk.write("later")).error is None
        await asyncio.gather(*strays, return_exceptions=True)
    kept = {name for name, outcome in told.items() if outcome.error is None}
    assert kept | {"later"} <= desk.names()
    assert desk.names() == desk.recorded()
    assert not {name for name, outcome in told.items() if outcome.error} & desk.names()


async def test_a_call_cancelled_as_its_turn_comes_passes_it_on(desk: Desk):
    gate = Gate("first")
    first = asyncio.create_task(desk.write("first", gate))
    await gate.entered.wait()
    second, third = (asyncio.create_task(desk.write(name)) for name in ("second", "third"))
    await asyncio.sleep(0)
    gate.released.set()
    while not first.done():  # at some step of this the second's turn comes: cancel it at each of them
        second.cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(LIMIT_S):
        assert (await third).error is None
    assert desk.names() == {"first", "third"}


async def test_what_waits_when_the_writer_stops_is_still_written(tmp_path: Path):
    async with desk_at(tmp_path) as desk:
        tasks = [asyncio.create_task(desk.write(f"n{n}")) for n in range(10)]
        await asyncio.sleep(0)
    assert all(outcome.error is None for outcome in await asyncio.gather(*tasks))
    stopped = await desk.write("late")
    assert stopped.error is not None
    assert stopped.error.code is Code.UNAVAILABLE
    assert len(desk.names()) == 10
