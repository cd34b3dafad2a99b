"""The writer's table of states: as it is drawn, as it is looked up, and as a real writer goes through it."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from itertools import product
from pathlib import Path

import pytest
from small_mesh import saga_call

from sagagen.runtime.clock import SystemClock
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Handled
from sagagen.runtime.service.call import Row
from sagagen.runtime.service.sqlite_store import writer as writer_module
from sagagen.runtime.service.sqlite_store.sql_files import Scripts, prepare
from sagagen.runtime.service.sqlite_store.states import AFTER, WriterEvent, WriterState
from sagagen.runtime.service.sqlite_store.writer import Writer
from sagagen.runtime.service.store import Handle, Turn

TABLES = """
CREATE TABLE entries (name TEXT PRIMARY KEY);
CREATE TABLE owners (id INTEGER PRIMARY KEY);
CREATE TABLE pets (owner INTEGER REFERENCES owners DEFERRABLE INITIALLY DEFERRED);
"""
Transition = tuple[WriterState, WriterEvent]
PAIRS = list(product(WriterState, WriterEvent))


def drawn() -> dict[Transition, WriterState]:
    """The table in the writer's docstring."""
    found: dict[Transition, WriterState] = {}
    for line in (writer_module.__doc__ or "").splitlines():
        state = line.strip().split(" ")[0]
        if state in WriterState.__members__:
            for event, after in re.findall(r"([A-Z]+) -> ([A-Z_]+)", line):
                found[WriterState(state), WriterEvent(event)] = WriterState(after)
    return found


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_the_drawing_and_the_lookups_say_the_same(state: WriterState, event: WriterEvent):
    assert drawn().get((state, event)) == AFTER.get((state, event))


def test_all_states_are_drawn_and_reached_and_lead_on_to_a_stop():
    lines = (writer_module.__doc__ or "").splitlines()
    assert {line.strip().split(" ")[0] for line in lines} >= set(WriterState)
    ways = {(state, after) for (state, _), after in AFTER.items()}
    assert _reached(WriterState.BUSY, ways) == set(WriterState)
    back = {(after, state) for state, after in ways}
    assert _reached(WriterState.STOPPED, back) == set(WriterState)


def _reached(start: WriterState, ways: set[tuple[WriterState, WriterState]]) -> set[WriterState]:
    reached = {start}
    while more := {after for state, after in ways if state in reached} - reached:
        reached |= more
    return reached


class Watched(dict[Transition, WriterState]):
    """The table, which remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(AFTER)
        self.seen: set[Transition] = set()

    def __getitem__(self, key: Transition) -> WriterState:
        self.seen.add(key)
        return super().__getitem__(key)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    table = Watched()
    monkeypatch.setattr(writer_module, "AFTER", table)
    return table


@asynccontextmanager
async def opened(folder: Path, hold_limit_s: float = 60.0) -> AsyncGenerator[Writer]:
    path = folder / "a.db"
    await prepare(path, Scripts(folder / "a.sql", TABLES, {}, {}))
    async with Writer.open(path, SystemClock(), hold_limit_s=hold_limit_s) as writer:
        yield writer


def state_of(writer: Writer) -> WriterState:
    return writer._state  # pyright: ignore[reportPrivateUsage] - it is the subject


async def rest(writer: Writer) -> None:
    """Until the owner has nothing to do."""
    async with asyncio.timeout(60):
        while state_of(writer) is not WriterState.IDLE:  # noqa: ASYNC110 - the owner tells nobody
            await asyncio.sleep(0)


def write(writer: Writer, name: str, handle: Handle) -> asyncio.Task[CallResult]:
    call = BarredCall(saga_call(saga=name), b"digest", None, name)
    return asyncio.ensure_future(writer.write(call, handle))


async def succeed(_: Turn) -> Handled:
    return Handled(CallResult(b"done"), keeps_effects=True)


async def roll_back_all(turn: Turn) -> Handled:
    with suppress(sqlite3.IntegrityError):
        for _ in range(2):
            await turn.db.execute("INSERT OR ROLLBACK INTO entries VALUES ('same')")
    return Handled(CallResult(b"done"), keeps_effects=True)


async def break_a_deferred_rule(turn: Turn) -> Handled:
    await turn.db.execute("INSERT INTO pets VALUES (4711)")
    return Handled(CallResult(b"done"), keeps_effects=True)


STRAYS: set[asyncio.Future[Sequence[Row]]] = set()


async def leave_a_statement(turn: Turn) -> Handled:
    # A text of its own, so that it has not proven quick, and goes to the thread.
    STRAYS.add(asyncio.ensure_future(turn.db.fetch(f"SELECT {len(STRAYS)}")))
    await asyncio.sleep(0)  # so that it has reached the thread
    return Handled(CallResult(b"done"), keeps_effects=True)


async def leave_a_statement_that_rolls_back(turn: Turn) -> Handled:
    await roll_back_all(turn)
    return await leave_a_statement(turn)


class Gate:
    """A handler that waits in its turn."""

    def __init__(self) -> None:
        self.entered, self.released = asyncio.Event(), asyncio.Event()

    async def __call__(self, _: Turn) -> Handled:
        self.entered.set()
        await self.released.wait()
        return Handled(CallResult(b"done"), keeps_effects=True)


async def test_a_real_writer_goes_through_the_whole_table(tmp_path: Path, watched: Watched):
    async with opened(tmp_path) as writer:
        await rest(writer)
        await one_call_alone(writer)
        await calls_in_line(writer)
        await the_offered_turn_declined(writer)
        await groups_that_break(writer)
        await begin_that_fails(writer, tmp_path)
        await a_lock_that_another_program_holds(writer, tmp_path)
    await asyncio.gather(*STRAYS, return_exceptions=True)
    STRAYS.clear()
    assert watched.seen == set(AFTER), f"never happened: {set(AFTER) - watched.seen}"


async def one_call_alone(writer: Writer) -> None:
    assert (await write(writer, "alone", succeed)).error is None
    await rest(writer)


async def calls_in_line(writer: Writer) -> None:
    gate = Gate()
    first = write(writer, "first", gate)
    await gate.entered.wait()
    second = write(writer, "second", leave_a_statement)
    await asyncio.sleep(0)
    gate.released.set()
    assert [result.error for result in await asyncio.gather(first, second)] == [None, None]
    await rest(writer)


async def the_offered_turn_declined(writer: Writer) -> None:
    gate = Gate()
    first = write(writer, "third", gate)
    await gate.entered.wait()
    second = write(writer, "fourth", succeed)
    await asyncio.sleep(0)
    gate.released.set()
    async with asyncio.timeout(60):
        while state_of(writer) is not WriterState.OFFERED:  # noqa: ASYNC110 - the state tells nobody
            await asyncio.sleep(0)
    second.cancel()
    assert (await first).error is None
    await rest(writer)


async def groups_that_break(writer: Writer) -> None:
    for handle in (roll_back_all, leave_a_statement_that_rolls_back, break_a_deferred_rule):
        assert (await write(writer, handle.__name__, handle)).error is not None
    await rest(writer)


async def begin_that_fails(writer: Writer, folder: Path) -> None:
    await write(writer, "closes the connection", roll_back_all)
    await rest(writer)
    (folder / "a.db").rename(folder / "hidden")
    (folder / "a.db").mkdir()
    assert (await write(writer, "lost", succeed)).error is not None
    (folder / "a.db").rmdir()
    (folder / "hidden").rename(folder / "a.db")
    assert (await write(writer, "found", succeed)).error is None
    await rest(writer)


async def a_lock_that_another_program_holds(writer: Writer, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "a.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = write(writer, "patient", succeed)
        await asyncio.sleep(0)
        assert state_of(writer) is WriterState.BUSY
        other.execute("ROLLBACK")
    assert (await waiting).error is None
    await rest(writer)


async def test_an_owner_that_is_cancelled_leaves_nobody_waiting(tmp_path: Path):
    gate = Gate()
    with suppress(asyncio.CancelledError):
        async with opened(tmp_path) as writer:
            await rest(writer)
            held = write(writer, "held", gate)
            await gate.entered.wait()
            waiting = write(writer, "waiting", succeed)
            await asyncio.sleep(0)
            owner = next(task for task in asyncio.all_tasks() if task.get_name() == "writer of a.db")
            owner.cancel()
            await asyncio.wait({owner})
            gate.released.set()
            async with asyncio.timeout(60):
                results = await asyncio.gather(held, waiting)
            assert all(result.error is not None for result in results)
            assert state_of(writer) is WriterState.STOPPED
            late = await write(writer, "late", succeed)
            assert late.error is not None
