"""The states of the log's commit: the table in `commit_states`, as a function and on a real file.

Every cell of the table is tried twice. Once against `next_state`, with every combination of what its choices look at;
once on a GroupWriter over SQLite that is brought into the state and meets the event.
"""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sagagen.runtime.log import commit_states
from sagagen.runtime.log.commit_states import CALLING, RESTFUL, Event, ImpossibleEvent, State, next_state
from sagagen.runtime.log.errors import LogUnavailable
from sagagen.runtime.log.group_commit import GroupWriter, open_writer
from sagagen.runtime.sqlite.database import Database, never_wait

LIMIT_S = 60
NEVER_S = 3600.0
CELLS = list(product(State, Event))


@dataclass(frozen=True)
class Line:
    """What the queue may look like."""

    is_empty: bool
    is_awaited: bool
    is_enough: bool
    is_full: bool
    is_closing: bool


LINES = [Line(*each) for each in product((False, True), repeat=5)]


def table() -> dict[tuple[State, Event], str]:
    """The cells of the table in the docstring."""
    lines = (commit_states.__doc__ or "").splitlines()
    head = next(n for n, line in enumerate(lines) if line.split()[:2] == ["state", "RIDES"])
    events = [Event(name) for name in lines[head].split()[1:]]
    rows = [line.split() for line in lines[head + 2 : head + 2 + len(State)]]
    return {
        (State(name), event): cell for name, *cells in rows for event, cell in zip(events, cells, strict=True)
    }


TABLE = table()


def expected(state: State, cell: str, line: Line) -> State:
    """What a cell means, read by a person."""
    match cell:
        case ".":
            return state
        case "t":
            if line.is_empty:
                return State.CLOSED
            return State.COMMITTING if line.is_enough or line.is_closing else State.GATHERING
        case "e":
            return State.GATHERED if line.is_enough else State.GATHERING
        case "c":
            if line.is_awaited or line.is_full or line.is_closing:
                return State.DUE
            return State.RESTING if line.is_empty else State.LINGERING
        case "f":
            if line.is_closing:
                return State.DUE
            return State.RESTING if line.is_empty else State.PAUSED
        case _:
            return State(cell)


def test_the_table_has_every_cell() -> None:
    assert set(TABLE) == set(CELLS)


@pytest.mark.parametrize(("state", "event"), CELLS)
def test_the_function_is_the_table(state: State, event: Event) -> None:
    for line in LINES:
        if TABLE[state, event] == "-":
            with pytest.raises(ImpossibleEvent):
                next_state(state, event, line)
        else:
            assert next_state(state, event, line) is expected(state, TABLE[state, event], line)


def test_every_state_is_reached_and_left() -> None:
    reached, frontier = {State.RESTING}, [State.RESTING]
    while frontier:
        state = frontier.pop()
        after = {
            expected(state, cell, line)
            for (at, _), cell in TABLE.items()
            if at is state and cell != "-"
            for line in LINES
        }
        assert (after - {state}) or state is State.CLOSED, "there is a way on"
        frontier += after - reached
        reached |= after
    assert reached == set(State)


def insert(value: int) -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (?)", (value,))

    return work


def insert_orphan(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO child VALUES (1)")  # SQLite minds it no sooner than at COMMIT


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - turn by turn, so that no state is missed
            await asyncio.sleep(0)


class World:
    """A GroupWriter on a real file, whose task and whose disk go on when a test says so."""

    def __init__(self, writer: GroupWriter, database: Database) -> None:
        self.writer = writer
        self.database = database
        self.at_work = 0
        self.written: list[int] = []
        """In the order in which they were queued."""
        self.lost: set[int] = set()
        self.waiting: list[asyncio.Task[object]] = []
        self.run: asyncio.Task[None] | None = None
        self.gate = threading.Event()
        writer.gather_for(lambda _: self.at_work)

    def start(self) -> None:
        self.run = self.run or asyncio.create_task(self.writer.run())

    async def stop(self) -> None:
        """End the task while it waits to be called: a state that calls it then lasts."""
        assert self.run
        self.run.cancel()
        await asyncio.wait([self.run])
        self.run = None

    async def state(self, state: State) -> None:
        await until(lambda: self.writer.state is state)

    async def write(self, work: Callable[[sqlite3.Connection], None] | None = None) -> None:
        """Queue a row that somebody waits for."""
        value = len(self.written) + 1
        self.written.append(value)
        if work:
            self.lost.add(value)
        self.waiting.append(asyncio.create_task(self.writer.write(work or insert(value))))
        await asyncio.sleep(0)

    async def ride(self) -> None:
        value = len(self.written) + 1
        self.written.append(value)
        self.waiting.append(asyncio.create_task(self.writer.write_later(insert(value))))
        await asyncio.sleep(0)

    def hold_the_disk(self) -> None:
        """Nothing gets through the database's thread until the gate is opened."""
        self.waiting.append(asyncio.create_task(self.database.in_thread(lambda _: self.gate.wait(LIMIT_S))))

    async def fill(self) -> None:
        """Rows that ride along, until somebody waits for room."""
        while not self.writer.is_full:
            await self.ride()
        await self.ride()

    async def end(self) -> None:
        """Whatever state it is in: it closes, and what was queued is on disk in its order, or was refused."""
        self.gate.set()
        self.start()
        self.writer.close()
        assert self.run
        async with asyncio.timeout(LIMIT_S):
            await self.run
            told = await asyncio.gather(*self.waiting, return_exceptions=True)
        assert self.writer.state is State.CLOSED
        assert all(error is None or isinstance(error, LogUnavailable | bool) for error in told), told
        found = await self.database.in_thread(lambda c: [row[0] for row in c.execute("SELECT x FROM t")])
        assert found == sorted(found)
        assert not self.lost & set(found)


def never() -> bool:
    return False


@asynccontextmanager
async def world(
    path: Path,
    release_room: Callable[[], bool] | None = None,
    *,
    gather_s: float = NEVER_S,
    linger_s: float = NEVER_S,
    pause_s: float = NEVER_S,
) -> AsyncGenerator[World]:
    async with Database(path) as database:
        await database.run_script(
            "CREATE TABLE t (x); CREATE TABLE parent (x INTEGER PRIMARY KEY);"
            "CREATE TABLE child (x REFERENCES parent DEFERRABLE INITIALLY DEFERRED)"
        )
        await database.in_thread(never_wait)
        writer = GroupWriter(
            database,
            release_room or never,
            max_waiting=8,
            gather_s=gather_s,
            linger_s=linger_s,
            pause_s=pause_s,
        )
        here = World(writer, database)
        mistakes: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: mistakes.append(context))
        try:
            yield here
        finally:
            here.gate.set()
            await here.end()
            assert not mistakes, "an event that can't happen has happened"


async def resting(here: World) -> None:
    await here.state(State.RESTING)


async def lingering(here: World) -> None:
    await here.ride()


async def paused(here: World) -> None:
    await here.ride()
    await here.write(insert_orphan)
    await here.state(State.BROKEN)
    here.start()
    await here.state(State.PAUSED)
    await here.stop()


async def due(here: World) -> None:
    here.at_work = 8
    await here.write()


async def gathering(here: World) -> None:
    await due(here)
    here.start()
    await here.state(State.GATHERING)
    await here.stop()


async def gathered(here: World) -> None:
    await gathering(here)
    for _ in range(3):
        await here.write()


async def committing(here: World) -> None:
    here.hold_the_disk()
    await asyncio.sleep(0)
    await here.write()


async def broken(here: World) -> None:
    await here.write(insert_orphan)
    await here.state(State.BROKEN)


async def closed(here: World) -> None:
    here.start()
    here.writer.close()
    await here.state(State.CLOSED)


REACH: dict[State, Callable[[World], Awaitable[None]]] = {
    State.RESTING: resting,
    State.LINGERING: lingering,
    State.PAUSED: paused,
    State.DUE: due,
    State.GATHERING: gathering,
    State.GATHERED: gathered,
    State.COMMITTING: committing,
    State.BROKEN: broken,
    State.CLOSED: closed,
}


async def awaited(here: World) -> None:
    here.at_work = 100  # so that no commit is begun at once
    await here.write()


async def enough(here: World) -> None:
    here.at_work = 2
    await here.write()


async def turn(here: World) -> None:
    here.start()
    for _ in range(3):  # the task begins, finds that it was called, and has its turn
        await asyncio.sleep(0)


async def close(here: World) -> None:
    here.writer.close()


async def commit(here: World) -> None:
    here.gate.set()
    before = here.writer.commits
    await until(lambda: here.writer.commits > before)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", [Event.RIDES, Event.AWAITED, Event.CROWDED, Event.CLOSE])
async def test_rows_and_closing_in_every_state(tmp_path: Path, state: State, event: Event) -> None:
    happen = {Event.RIDES: World.ride, Event.AWAITED: awaited, Event.CROWDED: World.fill, Event.CLOSE: close}
    async with world(tmp_path / "log.db") as here:
        await REACH[state](here)
        assert here.writer.state is state
        cell = TABLE[state, event]
        if event is Event.CROWDED and cell != ".":
            # Until it is full, more and more rows have come that ride along.
            state, cell = (State.LINGERING if state is State.RESTING else state), "DUE"
        if state is State.CLOSED and event is not Event.CLOSE:
            with pytest.raises(LogUnavailable, match="closing"):
                await here.writer.write_later(insert(0))
            return
        await happen[event](here)
        assert here.writer.state is (state if cell in (".", "e") else State(cell))


@pytest.mark.parametrize("state", sorted(RESTFUL))
async def test_a_commit_is_begun_at_once_where_the_log_rests(tmp_path: Path, state: State) -> None:
    async with world(tmp_path / "log.db") as here:
        await REACH[state](here)
        here.hold_the_disk()
        await asyncio.sleep(0)
        await enough(here)
        assert here.writer.state is State.COMMITTING
        here.gate.set()
        await here.state(State.RESTING)


@pytest.mark.parametrize("state", sorted(RESTFUL))
async def test_what_can_t_be_begun_at_once_is_the_task_s(tmp_path: Path, state: State) -> None:
    async with world(tmp_path / "log.db") as here:
        await REACH[state](here)
        other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await enough(here)
        assert here.writer.state is State.DUE, "another program writes"
        other.execute("ROLLBACK")
        other.close()
        here.start()
        await here.state(State.RESTING)


@pytest.mark.parametrize(
    ("bounds", "state", "after"),
    [
        ({"linger_s": 0.0}, State.LINGERING, State.DUE),
        ({"pause_s": 0.0}, State.PAUSED, State.DUE),
        ({"gather_s": 0.0}, State.GATHERING, State.GATHERED),
    ],
)
async def test_waits_end_by_their_timers(
    tmp_path: Path, bounds: dict[str, float], state: State, after: State
) -> None:
    assert TABLE[state, Event.TIMER] == after
    async with world(tmp_path / "log.db", None, **bounds) as here:
        await REACH[state](here)
        await here.state(after)
        here.start()
        await here.state(State.RESTING)
        assert here.writer.commits == 1


@pytest.mark.parametrize("state", sorted(CALLING))
async def test_the_task_begins_a_commit_when_it_is_called(tmp_path: Path, state: State) -> None:
    async with world(tmp_path / "log.db") as here:
        await REACH[state](here)
        here.at_work = 0
        here.hold_the_disk()
        await turn(here)
        assert here.writer.state is State.COMMITTING


async def test_the_task_gathers_where_too_few_have_come(tmp_path: Path) -> None:
    async with world(tmp_path / "log.db") as here:
        await due(here)
        await turn(here)
        assert here.writer.state is State.GATHERING
        await here.write()
        assert here.writer.state is State.GATHERING, "two of eight"
        await here.write()
        assert here.writer.state is State.GATHERING, "three of eight"
        await here.write()
        assert here.writer.state is State.GATHERED, "half of them"


async def test_a_commit_is_followed_by_what_came_meanwhile(tmp_path: Path) -> None:
    for come, after in ((resting, State.RESTING), (World.ride, State.LINGERING), (awaited, State.DUE)):
        async with world(tmp_path / f"{after}.db") as here:
            here.hold_the_disk()
            await asyncio.sleep(0)
            await here.write()
            if come is not resting:
                await come(here)
            assert here.writer.state is State.COMMITTING
            await commit(here)
            assert here.writer.state is after


async def test_a_full_queue_is_committed_without_a_wait_for_company(tmp_path: Path) -> None:
    async with world(tmp_path / "log.db") as here:
        here.hold_the_disk()
        await asyncio.sleep(0)
        await here.write()
        for _ in range(9):
            await here.ride()
        await commit(here)
        await here.state(State.DUE)
        here.start()
        await here.state(State.RESTING)


@pytest.mark.parametrize("rides", [True, False])
@pytest.mark.parametrize("closes", [True, False])
async def test_a_commit_that_fails_pauses_what_rides_along(tmp_path: Path, rides: bool, closes: bool) -> None:
    async with world(tmp_path / "log.db") as here:
        if rides:
            await here.ride()
        await here.write(insert_orphan)
        await here.state(State.BROKEN)
        if closes:
            here.writer.close()
        here.start()
        await here.state(State.CLOSED if closes else State.PAUSED if rides else State.RESTING)
        with pytest.raises(LogUnavailable, match="FOREIGN KEY"):
            await here.waiting[-1]


async def test_a_paused_log_is_tried_again_and_in_order(tmp_path: Path) -> None:
    async with world(tmp_path / "log.db", pause_s=0.01) as here:
        await paused(here)
        here.start()
        await here.state(State.RESTING)
        found = await here.database.in_thread(lambda c: [row[0] for row in c.execute("SELECT x FROM t")])
        assert found == [1]


async def test_leaving_a_state_ends_its_timer(tmp_path: Path) -> None:
    async with world(tmp_path / "log.db", linger_s=0.05) as here:
        await here.ride()
        await here.write()
        await here.state(State.RESTING)
        await asyncio.sleep(0.1)  # a timer that was left would be an event that can't happen
        assert here.writer.state is State.RESTING


class SmallDisk:
    """A database file that may not grow, until its room is released."""

    def __init__(self, *, has_reserve: bool) -> None:
        self.here: World | None = None
        self.asked = 0
        self._has_reserve = has_reserve

    def fill(self, here: World) -> None:
        self.here = here
        here.database.in_place(lambda c: c.execute("PRAGMA max_page_count = 1").fetchall())

    def release(self) -> bool:
        self.asked += 1
        if self.here and self._has_reserve:
            self.here.database.in_place(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchall())
        return self._has_reserve


def insert_much(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS filler AS SELECT zeroblob(100000) AS x")


async def test_a_commit_that_finds_no_room_is_repeated_once_room_is_made(tmp_path: Path) -> None:
    disk = SmallDisk(has_reserve=True)
    async with world(tmp_path / "log.db", disk.release) as here:
        disk.fill(here)
        here.start()
        await here.ride()
        async with asyncio.timeout(LIMIT_S):
            await here.writer.write(insert_much)
        assert (disk.asked, here.writer.commits, here.writer.state) == (1, 1, State.RESTING)


async def test_a_commit_that_finds_no_room_fails_where_none_can_be_made(tmp_path: Path) -> None:
    disk = SmallDisk(has_reserve=False)
    async with world(tmp_path / "log.db", disk.release) as here:
        disk.fill(here)
        here.start()
        await here.ride()
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(LogUnavailable, match="full"):
                await here.writer.write(insert_much)
        assert (disk.asked, here.writer.commits, here.writer.state) == (1, 0, State.PAUSED)
        here.database.in_place(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchall())


async def test_no_room_is_made_for_a_commit_that_fails_for_another_reason(tmp_path: Path) -> None:
    disk = SmallDisk(has_reserve=True)
    async with world(tmp_path / "log.db", disk.release) as here:
        here.start()
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(LogUnavailable, match="FOREIGN KEY"):
                await here.writer.write(insert_orphan)
        assert disk.asked == 0


async def test_a_row_that_rides_along_and_can_t_be_written_is_logged_and_harms_no_other(
    tmp_path: Path,
) -> None:
    def insert_too_much(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (?)", (2**70,))

    async with world(tmp_path / "log.db") as here:
        with capture_logs() as lines:
            await here.writer.write_later(insert_too_much)
            await here.writer.write_later(insert(1))
            await here.writer.write(insert(2))
        assert [line["event"] for line in lines] == ["a row of the saga log was not written"]
        found = await here.database.in_thread(lambda c: [row[0] for row in c.execute("SELECT x FROM t")])
        assert found == [1, 2]


async def test_a_write_says_what_its_work_returned(tmp_path: Path) -> None:
    async with world(tmp_path / "log.db") as here:
        assert await here.writer.write(lambda c: c.execute("INSERT INTO t VALUES (7)").lastrowid) == 1


async def test_long_work_runs_in_the_thread_and_never_in_the_event_loop(tmp_path: Path) -> None:
    threads: list[int] = []

    def work(_: sqlite3.Connection) -> None:
        threads.append(threading.get_ident())

    async with world(tmp_path / "log.db") as here:
        here.start()
        async with asyncio.timeout(LIMIT_S):
            await here.writer.write(work)
            await here.writer.write(work, is_long=True)
        assert [thread == threading.get_ident() for thread in threads] == [True, False]


@pytest.mark.parametrize("rows", [1, 8])
async def test_a_disk_that_does_not_answer_keeps_no_process_from_ending(tmp_path: Path, rows: int) -> None:
    gate = threading.Event()
    async with Database(tmp_path / "log.db") as database:
        await database.run_script("CREATE TABLE t (x)")
        await database.in_thread(never_wait)
        with capture_logs() as lines:
            async with open_writer(database, never, close_s=0.2) as writer:
                # With one at work its row is committed at once; with more it is the task that commits them.
                writer.gather_for(lambda _: 2 * rows)
                blocked = asyncio.create_task(database.in_thread(lambda _: gate.wait(LIMIT_S)))
                await asyncio.sleep(0)
                waiting = [asyncio.create_task(writer.write(insert(n))) for n in range(rows)]
                await until(lambda: writer.state is State.COMMITTING)
        assert [line["waited_s"] for line in lines] == [0.2]
        gate.set()
        await blocked
        for task in waiting:
            task.cancel()
        assert not await database.in_thread(lambda c: c.in_transaction), (
            "the thread goes on, and is free again"
        )


async def test_closing_waits_for_rows_even_when_it_is_cancelled(tmp_path: Path) -> None:
    gate = threading.Event()
    async with Database(tmp_path / "log.db") as database:
        await database.run_script("CREATE TABLE t (x)")
        await database.in_thread(never_wait)

        async def open_and_close() -> None:
            async with open_writer(database, never) as writer:
                await writer.write_later(insert(1))

        blocked = asyncio.create_task(database.in_thread(lambda _: gate.wait(LIMIT_S)))
        closing = asyncio.create_task(open_and_close())
        await asyncio.sleep(0.05)
        closing.cancel()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert database.in_place(lambda c: [row[0] for row in c.execute("SELECT x FROM t")]) == [1]
        await blocked


async def test_beside_a_row_that_fails_alone_others_are_written_and_say_what_they_returned(
    tmp_path: Path,
) -> None:
    def insert_too_much(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (7)")
        connection.execute("INSERT INTO t VALUES (?)", (2**70,))

    def insert_and_say(connection: sqlite3.Connection) -> int | None:
        return connection.execute("INSERT INTO t VALUES (8)").lastrowid

    async with world(tmp_path / "log.db", gather_s=LIMIT_S) as here:
        here.at_work = 6
        here.start()
        async with asyncio.timeout(LIMIT_S):
            told = await asyncio.gather(
                here.writer.write(insert_and_say),
                here.writer.write(insert_too_much),
                here.writer.write(insert_and_say),
                return_exceptions=True,
            )
        assert (told[0], type(told[1]), told[2]) == (1, OverflowError, 2)
        assert here.writer.commits == 1
        found = await here.database.in_thread(lambda c: [row[0] for row in c.execute("SELECT x FROM t")])
        assert found == [8, 8]


async def test_whoever_came_during_a_commit_that_fails_is_told_too_and_the_log_goes_on(
    tmp_path: Path,
) -> None:
    async with world(tmp_path / "log.db") as here:
        here.start()
        here.hold_the_disk()
        await asyncio.sleep(0)
        await here.write(insert_orphan)
        await here.ride()
        await here.write()
        here.lost.add(3)
        assert here.writer.state is State.COMMITTING
        here.gate.set()
        await here.state(State.PAUSED)
        for waiting in (here.waiting[1], here.waiting[3]):
            with pytest.raises(LogUnavailable, match="FOREIGN KEY"):
                await waiting
        async with asyncio.timeout(LIMIT_S):
            assert await here.writer.write(insert(4)) is None
        assert here.writer.state is State.RESTING
        found = await here.database.in_thread(lambda c: [row[0] for row in c.execute("SELECT x FROM t")])
        assert found == [2, 4]


@pytest.mark.parametrize("is_committing", [True, False])
async def test_as_many_writes_wait_as_may_and_not_one_more(tmp_path: Path, is_committing: bool) -> None:
    async with world(tmp_path / "log.db") as here:
        if is_committing:
            here.hold_the_disk()
            await asyncio.sleep(0)
            await here.write()
        for n in range(8 - is_committing):
            assert not here.writer.is_full, n
            await here.ride()
        assert here.writer.is_full, "those on their way to the disk count too"
        await here.ride()
        assert not here.waiting[-1].done(), "it waits for room"
        here.gate.set()
        here.start()
        async with asyncio.timeout(LIMIT_S):
            await here.waiting[-1]
