"""Conditions, branches, loops, waits, delays and cancellations: on the real engine, log and barrier rules."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_world import PatientClock, World, engine
from grpclib.const import Status as Code
from small_mesh import RETRY, SAGA_ID, ManualClock, Text, acceptance, method, saga, step, text
from waiting import eventually_async

from sagagen.runtime.engine.at_rest import SagasAtRest
from sagagen.runtime.engine.deliveries import row_of
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.port import CANCEL, Delivery, NotDelivered, Overloaded, Refusal
from sagagen.runtime.log.store import LogUnavailable, SagaLog
from sagagen.runtime.model.definition import (
    Branch,
    Cancel,
    Decline,
    Delay,
    Direction,
    Element,
    Event,
    ForEach,
    Parallel,
    Saga,
    Start,
    Step,
    StepKind,
    Wait,
)
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.saga.commands import Act, OperatorCommand
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import (
    Ended,
    EventTaken,
    LogEvent,
    LoopPlanned,
    Planned,
    SagaStatus,
    TurnedBack,
)
from sagagen.runtime.saga.explain import explain
from sagagen.runtime.saga.history import fold
from sagagen.runtime.saga.search import SagaQuery
from sagagen.runtime.saga.view import SagaView, StepStatus
from sagagen.runtime.scope import EventScope, Scope

ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION
RETRIABLE, PIVOT = StepKind.RETRIABLE, StepKind.PIVOT


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def world(clock: ManualClock) -> World:
    return World(clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "saga-log.db"


def block(name: str, kind: StepKind = StepKind.COMPENSATABLE, **branches: Sequence[Element]) -> Parallel:
    return Parallel(name, kind, tuple(Branch(each, tuple(steps)) for each, steps in branches.items()))


def loop(name: str, key: Any = None, **options: Any) -> Step:
    """A step for each word of the input."""

    def items(scope: Scope[Text]) -> list[str]:
        return scope.input.value.split()

    def request(scope: Scope[Text]) -> Text:
        return Text(value=scope.item(str))

    made = step(name, request=request)
    return replace(made, for_each=ForEach(items, key, **options))


def by_word(scope: Scope[Text]) -> str:
    return scope.item(str)


def says(word: str) -> Any:
    def when(scope: Scope[Text]) -> bool:
        return word in scope.input.value

    return when


def event(name: str = "answered") -> Event:
    def saga_id(scope: EventScope[Text, Text]) -> str:
        return scope.event.value

    return Event(name, method("Answer"), saga_id)


def no(scope: EventScope[Text, Text]) -> bool:
    return scope.event.value == "no"


WAIT = Wait("answer", StepKind.COMPENSATABLE, "answered", within_s=600.0, decline=Decline(no, "SAID_NO"))


def delivery(name: str = "answered", value: str = "yes", key: str = "k1", caller: str = "ann") -> Delivery:
    return Delivery("place", SAGA_ID, name, key, value.encode(), text(value), caller)


async def run(
    path: Path, definition: Saga, world: World, clock: ManualClock, input: str = "x"
) -> tuple[SagaView, Sequence[LogEvent]]:
    """One saga, from its acceptance until nothing is left to do."""
    async with SagaLog.open(path) as log, engine(definition, log, world, clock) as running:
        await running.accept(acceptance(definition, input=input))
        await running.wait_until_idle()
        view, logged = await running.describe(SAGA_ID), await log.find(SAGA_ID)
        assert view
        assert logged
        return view, logged.rows


async def test_branches_go_side_by_side_and_are_undone_before_what_stood_before_them(
    path: Path, world: World, clock: ManualClock
) -> None:
    definition = saga(
        step("first"),
        block("both", left=[step("l1"), step("l2")], right=[step("r1")]),
        step("last"),
    )
    world.declines = frozenset({"last"})
    view, _ = await run(path, definition, world, clock)
    assert view.status is SagaStatus.COMPENSATED
    done = world.done(ACTION)
    assert done[0] == "first"
    assert set(done[1:]) == {"l1", "l2", "r1"}
    undone = world.done(COMPENSATION)
    assert undone[-1] == "first"
    assert undone.index("l2") < undone.index("l1")
    assert {each.name: each.path for each in view.steps}["l2"] == ("both", "left")


async def test_a_failure_in_one_branch_names_what_the_others_may_have_done(
    path: Path, world: World, clock: ManualClock
) -> None:
    gone_for_good = RpcError(Code.UNAVAILABLE, "no connection")
    world.faults = {("r1", ACTION): [gone_for_good] * 3}
    world.declines = frozenset({"l1"})
    definition = saga(
        step("first"),
        block("both", left=[step("l1")], right=[step("r1", retry=replace(RETRY, initial_s=600.0))]),
    )
    view, rows = await run(path, definition, world, clock)
    assert view.status is SagaStatus.COMPENSATED
    (turned_back,) = (row for row in rows if isinstance(row, TurnedBack))
    assert (turned_back.failure.step, turned_back.doubt) == ("l1", ("r1",))
    assert world.barrier[SAGA_ID]["r1", COMPENSATION], "it is undone, in case it happened"
    assert world.done(COMPENSATION) == ["first"]


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_step_whose_condition_is_false_is_skipped_and_not_undone(
    path: Path, world: World, clock: ManualClock, wanted: bool
) -> None:
    definition = saga(replace(step("maybe"), when=says("please")), step("last"))
    world.declines = frozenset({"last"})
    view, _ = await run(path, definition, world, clock, "please" if wanted else "x")
    assert world.done(ACTION) == world.done(COMPENSATION) == (["maybe"] if wanted else [])
    assert view.steps[0].status is (StepStatus.COMPENSATED if wanted else StepStatus.SKIPPED)


async def test_a_block_that_is_skipped_skips_all_that_stands_in_it(
    path: Path, world: World, clock: ManualClock
) -> None:
    skipped = replace(block("both", left=[step("l1")], right=[step("r1")]), when=says("please"))
    view, _ = await run(path, saga(step("first"), skipped, step("last")), world, clock)
    assert world.done(ACTION) == ["first", "last"]
    assert [each.status for each in view.steps[1:3]] == [StepStatus.SKIPPED] * 2


async def test_a_condition_that_can_not_be_worked_out_turns_the_saga_back(
    path: Path, world: World, clock: ManualClock
) -> None:
    def broken(scope: Scope[Text]) -> bool:
        raise ZeroDivisionError(scope.input.value)

    definition = saga(step("first"), replace(step("second"), when=broken))
    view, _ = await run(path, definition, world, clock)
    assert view.status is SagaStatus.COMPENSATED
    assert (world.done(ACTION), world.done(COMPENSATION)) == (["first"], ["first"])


async def test_a_loop_makes_a_call_for_each_item_so_many_at_once(
    path: Path, world: World, clock: ManualClock
) -> None:
    definition = saga(loop("reserve", by_word, at_once=2), step("last"))
    world.declines = frozenset({"last"})
    view, rows = await run(path, definition, world, clock, "a größe c d e")
    keys = [f"reserve[{word}]" for word in ("a", "größe", "c", "d", "e")]
    assert sorted(world.done(ACTION)) == sorted(world.done(COMPENSATION)) == sorted(keys)
    assert [each.name for each in view.steps] == [*keys, "last"]
    (planned,) = (row for row in rows if isinstance(row, LoopPlanned))
    assert (planned.keys, planned.at_once) == (("a", "größe", "c", "d", "e"), 2)


async def test_in_a_loop_that_fails_only_what_was_let_go_is_in_doubt(
    path: Path, world: World, clock: ManualClock
) -> None:
    world.declines = frozenset({"reserve[b]"})
    words = "a b " + " ".join(f"w{number}" for number in range(50))
    _, rows = await run(path, saga(loop("reserve", by_word, at_once=3)), world, clock, words)
    (turned_back,) = (row for row in rows if isinstance(row, TurnedBack))
    assert turned_back.failure.step == "reserve[b]"
    assert len(turned_back.doubt) <= 2
    assert len(world.barrier[SAGA_ID]) < 12, "hole 8: what was never called is not undone"


async def test_an_empty_loop_is_settled_at_once(path: Path, world: World, clock: ManualClock) -> None:
    view, _ = await run(path, saga(step("first"), loop("reserve"), step("last")), world, clock, "")
    assert view.status is SagaStatus.COMPLETED, "hole 23"
    assert world.done(ACTION) == ["first", "last"]


@pytest.mark.parametrize("words", ["a a", "x" * 129, " ".join(map(str, range(101)))])
async def test_a_loop_that_can_not_be_built_is_not_called(
    path: Path, world: World, clock: ManualClock, words: str
) -> None:
    view, _ = await run(path, saga(step("first"), loop("reserve", by_word)), world, clock, words)
    assert view.status is SagaStatus.COMPENSATED
    assert world.done(ACTION) == ["first"]


async def test_a_step_that_is_given_up_lets_the_saga_complete(
    path: Path, world: World, clock: ManualClock
) -> None:
    world.declines = frozenset({"mail"})
    definition = saga(
        step("pivot", PIVOT),
        replace(step("mail", RETRIABLE), gives_up=True),
        step("after", RETRIABLE),
    )
    view, _ = await run(path, definition, world, clock)
    assert (view.status, view.incomplete) == (SagaStatus.COMPLETED, ("mail",))
    assert sum(call.step == "mail" for call, _, _ in world.calls) == 1, "not repeated after a refusal"
    assert world.done(ACTION) == ["pivot", "after"]


async def test_a_delay_lets_its_time_pass(path: Path, world: World, clock: ManualClock) -> None:
    begun_ms = clock.wall_ms()
    definition = saga(
        step("first"), Delay("pause", StepKind.COMPENSATABLE, after_s=30.0), step("last"), deadline_s=600
    )
    view, rows = await run(path, definition, world, clock)
    assert view.status is SagaStatus.COMPLETED
    assert clock.wall_ms() - begun_ms >= 30_000
    assert any(isinstance(row, Planned) and row.next.until_ms for row in rows)


async def test_a_wait_that_times_out_turns_back_or_goes_on(
    path: Path, world: World, clock: ManualClock
) -> None:
    silent = replace(WAIT, within_s=5.0, on_timeout="SILENT")
    view, _ = await run(path, saga(step("first"), silent, step("last"), events=(event(),)), world, clock)
    assert (view.status, world.done(COMPENSATION)) == (SagaStatus.COMPENSATED, ["first"])


async def test_a_wait_may_go_on_without_its_event(path: Path, world: World, clock: ManualClock) -> None:
    patient = replace(WAIT, within_s=5.0, on_timeout=None)
    view, _ = await run(path, saga(step("first"), patient, step("last"), events=(event(),)), world, clock)
    assert (view.status, world.done(ACTION)) == (SagaStatus.COMPLETED, ["first", "last"])
    assert view.steps[1].status is StepStatus.TIMED_OUT


async def test_the_deadline_ends_a_wait_whatever_it_says(
    path: Path, world: World, clock: ManualClock
) -> None:
    patient = replace(WAIT, within_s=600.0, on_timeout=None)
    definition = saga(step("first"), patient, step("last"), events=(event(),), deadline_s=10.0)
    view, rows = await run(path, definition, world, clock)
    assert (view.status, world.done(COMPENSATION)) == (SagaStatus.COMPENSATED, ["first"])
    planned = next(number for number, row in enumerate(rows, 1) if isinstance(row, Planned))
    explained = explain(definition, fold(rows[:planned]), "")
    accepted = rows[0].at_ms
    assert (explained.until_ms, explained.then) == (accepted + 10_000, "it turns back")


@asynccontextmanager
async def live(
    path: Path, definition: Saga, world: World, **options: Any
) -> AsyncGenerator[tuple[EmbeddedEngine, SagaLog]]:
    """An engine on real time, which parks what only waits."""
    async with (
        SagaLog.open(path) as log,
        EmbeddedEngine(sagas=[definition], log=log, transports={"one": world}, **options) as running,
    ):
        yield running, log


async def test_a_saga_that_only_waits_keeps_no_other_from_beginning(path: Path) -> None:
    clock = PatientClock()
    definition = saga(replace(WAIT, name="first"), step("last"), events=(event(),), deadline_s=3600.0)
    async with SagaLog.open(path) as log, engine(definition, log, World(clock), clock) as running:
        await running.accept(acceptance(definition))
        await clock.waits.wait()
        clock.advance(60.0)
        assert running.room() > 0, "it stands in no line"
        view = await running.describe(SAGA_ID)
        assert view
        assert view.steps[0].status is StepStatus.WAITING


async def test_who_leaves_off_waiting_does_not_begin_a_back_off_anew(path: Path) -> None:
    clock = PatientClock()
    world = World(clock, faults={("one", ACTION): ["down"] * 9})
    definition = saga(step("one"), deadline_s=3600.0)
    async with SagaLog.open(path) as log, engine(definition, log, world, clock) as running:
        await running.accept(acceptance(definition))
        await clock.waits.wait()
        clock.waits.clear()
        for _ in range(3):
            assert await running.wait(SAGA_ID, 0.01) is None
        assert not clock.waits.is_set(), "it still waits for its second attempt"
        assert len(world.calls) == 1


ANSWERED = saga(
    step("first"),
    WAIT,
    step("pivot", PIVOT),
    events=(event(),),
    deadline_s=3600.0,
    respond_after="acceptance",
)


async def is_parked(running: EmbeddedEngine, log: SagaLog) -> bool:
    logged = await log.find(SAGA_ID)
    return logged is not None and logged.is_parked and running.running == 0


async def ended(running: EmbeddedEngine) -> SagaStatus:
    async def over() -> bool:
        view = await running.describe(SAGA_ID)
        return view is not None and not view.status.is_active

    await eventually_async("it ends", over)
    view = await running.describe(SAGA_ID)
    assert view
    return view.status


TWO_WAITS = saga(
    step("first"),
    Wait("answer", StepKind.COMPENSATABLE, "answered"),
    Wait("pickup", StepKind.COMPENSATABLE, "picked_up"),
    step("pivot", PIVOT),
    events=(event(), event("picked_up")),
    deadline_s=3600.0,
    respond_after="acceptance",
)


async def test_the_log_knows_where_a_saga_waits_though_it_waits_as_long_as_before(
    path: Path, world: World
) -> None:
    """Both waits end at the deadline."""
    async with live(path, TWO_WAITS, world) as (running, log):

        async def found_at(*names: str) -> int:
            return len(await log.search(SagaQuery(waiting_at=names)))

        await running.accept(acceptance(TWO_WAITS))
        await eventually_async("it is parked", lambda: is_parked(running, log))
        assert [await found_at("answer"), await found_at("pickup"), await found_at()] == [1, 0, 0]
        await running.deliver(delivery())
        await eventually_async("it is parked again", lambda: is_parked(running, log))
        assert [await found_at("answer"), await found_at("first", "pickup"), await found_at("pick")] == [
            0,
            1,
            0,
        ]
        await running.command(SAGA_ID, OperatorCommand(Act.CANCEL, "ann"))
        assert await ended(running) is SagaStatus.COMPENSATED


@pytest.mark.parametrize("steps", [(step("pivot", PIVOT), step("after", RETRIABLE)), (step("second"),)])
async def test_a_saga_that_only_lacks_its_end_is_not_cancelled(
    path: Path, world: World, clock: ManualClock, steps: tuple[Step, ...]
) -> None:
    cancel = Cancel(method("Cancel"), lambda scope: scope.event.value, "CUSTOMER_CANCELLED")
    definition = saga(step("first"), *steps, cancel=cancel)
    _, rows = await run(path, definition, world, clock)
    assert isinstance(rows[-1], Ended)
    asked = delivery(CANCEL, caller="anonymous")
    with pytest.raises(NotDelivered) as refused:
        row_of(asked, definition, fold(rows[:-1]), clock.wall_ms(), is_alone=True)
    assert refused.value.refusal is Refusal.TOO_LATE


async def test_a_saga_that_does_more_than_wait_is_not_left_out(path: Path, world: World) -> None:
    async with SagaLog.open(path) as log, engine(ANSWERED, log, world, PatientClock()) as running:
        await running.accept(acceptance(ANSWERED))
        await eventually_async("it waits", lambda: waits_in_memory(running))
        assert len(await log.search(SagaQuery(waiting_at=()))) == 1
        await running.command(SAGA_ID, OperatorCommand(Act.CANCEL, "ann"))
        assert await ended(running) is SagaStatus.COMPENSATED


async def waits_in_memory(running: EmbeddedEngine) -> bool:
    view = await running.describe(SAGA_ID)
    return view is not None and view.steps[1].status is StepStatus.WAITING


async def test_a_saga_that_waits_leaves_memory_and_an_event_brings_it_back(path: Path, world: World) -> None:
    async with live(path, ANSWERED, world) as (running, log):
        await running.accept(acceptance(ANSWERED))
        await eventually_async("it is parked", lambda: is_parked(running, log))
        view = await running.describe(SAGA_ID)
        assert view
        assert (view.steps[1].status, view.steps[1].event) == (StepStatus.WAITING, "answered")
        (counted,) = await running.open_counts()
        assert (counted.count, counted.at_steps) == (1, ("answer",))
    async with live(path, ANSWERED, world) as (running, log):
        assert await is_parked(running, log), "a restart is nothing to it"
        kept = await running.deliver(delivery())
        again = await running.deliver(delivery())
        assert (kept.is_new, again.is_new) == (True, False)
        assert await ended(running) is SagaStatus.COMPLETED
        assert not (await running.deliver(delivery())).is_new, "also after the end"
        logged = await log.find(SAGA_ID)
        assert logged
        assert logged.wake_ms is None
        assert "RESUMED" not in [type(row).__name__.upper() for row in logged.rows]


@pytest.mark.parametrize(
    ("sent", "refusal"),
    [
        (delivery(key="k1", value="other"), Refusal.KEY_REUSED),
        (delivery("unknown", key="k2"), Refusal.NOT_EXPECTED),
        (delivery(key="k3"), Refusal.SAGA_OVER),
        (replace(delivery(), saga_id="nobody"), Refusal.UNKNOWN_SAGA),
        (replace(delivery(), saga="another"), Refusal.UNKNOWN_SAGA),
    ],
)
async def test_what_nothing_waits_for_is_refused(
    path: Path, world: World, sent: Delivery, refusal: Refusal
) -> None:
    async with live(path, ANSWERED, world) as (running, log):
        await running.accept(acceptance(ANSWERED))
        await eventually_async("it is parked", lambda: is_parked(running, log))
        if refusal is Refusal.NOT_EXPECTED:
            with pytest.raises(NotDelivered) as caught:
                await running.deliver(sent)
        else:
            await running.deliver(delivery())
            await ended(running)
            with pytest.raises(NotDelivered) as caught:
                await running.deliver(sent)
        assert caught.value.refusal is refusal


@pytest.mark.parametrize(
    ("sent", "refusal"),
    [
        (replace(delivery(), saga="another"), Refusal.UNKNOWN_SAGA),
        (delivery(), Refusal.NOT_EXPECTED),
        (delivery(CANCEL, caller="anonymous"), Refusal.NOT_EXPECTED),
    ],
)
async def test_a_saga_that_takes_no_events_refuses_one_while_it_runs(
    path: Path, sent: Delivery, refusal: Refusal
) -> None:
    """One of another definition, whose id a client may send; or of a version that had no events yet."""
    clock = PatientClock()
    definition = saga(step("one"), deadline_s=3600.0)
    world = World(clock, faults={("one", ACTION): ["down"]})
    async with SagaLog.open(path) as log, engine(definition, log, world, clock) as running:
        await running.accept(acceptance(definition))
        await clock.waits.wait()
        with pytest.raises(NotDelivered) as caught:
            await running.deliver(sent)
        assert caught.value.refusal is refusal


async def test_so_many_may_wait_and_what_waits_for_nothing_is_taken_all_the_same(
    path: Path, world: World
) -> None:
    line = replace(saga(step("one"), version=2), name="line")
    async with (
        SagaLog.open(path) as log,
        EmbeddedEngine(
            sagas=[ANSWERED, line], log=log, transports={"one": world}, max_waiting_sagas=1
        ) as running,
    ):
        await running.accept(acceptance(ANSWERED))
        await eventually_async("it is parked", lambda: is_parked(running, log))
        with pytest.raises(Overloaded):
            await running.accept(acceptance(ANSWERED, "another"))
        assert (await running.accept(acceptance(line, "a line"))).is_new
        await running.deliver(delivery())
        await ended(running)
        assert (await running.accept(acceptance(ANSWERED, "another"))).is_new


async def test_an_event_that_declines_turns_the_saga_back(path: Path, world: World) -> None:
    async with live(path, ANSWERED, world) as (running, log):
        await running.accept(acceptance(ANSWERED))
        await eventually_async("it is parked", lambda: is_parked(running, log))
        await running.deliver(delivery(value="no"))
        assert await ended(running) is SagaStatus.COMPENSATED
        assert world.done(COMPENSATION) == ["first"]


def broken(scope: EventScope[Text, Text]) -> bool:
    raise KeyError(scope.saga_id)


@pytest.mark.parametrize(
    "definition",
    [
        replace(
            ANSWERED,
            steps=(step("first"), replace(WAIT, decline=Decline(broken, "NO")), step("pivot", PIVOT)),
        ),
        replace(ANSWERED, events=(replace(event(), allow=broken),)),
    ],
    ids=["decline", "allow"],
)
async def test_an_event_whose_row_was_lost_to_a_mistake_of_ours_is_not_acknowledged(
    path: Path, world: World, definition: Saga
) -> None:
    async with live(path, definition, world) as (running, log):
        await running.accept(acceptance(definition))
        await eventually_async("it is parked", lambda: is_parked(running, log))
        with pytest.raises(NotDelivered) as caught:
            await running.deliver(delivery())
        assert caught.value.refusal is Refusal.NOT_READY
        assert await ended(running) is SagaStatus.STUCK
        logged = await log.find(SAGA_ID)
        assert logged
        assert not any(isinstance(row, EventTaken) for row in logged.rows)


class FullDisk(SagaLog):
    """A log whose disk is full from some moment on."""

    is_out_of_room = False

    async def append(self, *args: Any, **others: Any) -> None:
        if self.is_out_of_room:
            raise LogUnavailable("the disk is full")
        await super().append(*args, **others)


async def test_while_nothing_can_be_written_an_event_is_sent_again_and_taken_once(
    path: Path, world: World
) -> None:
    async with (
        FullDisk.open(path) as log,
        EmbeddedEngine(sagas=[ANSWERED], log=log, transports={"one": world}) as running,
    ):
        await running.accept(acceptance(ANSWERED))
        await eventually_async("it is parked", lambda: is_parked(running, log))
        log.is_out_of_room = True
        for _ in range(2):  # the second one finds the first one's row unwritten
            with pytest.raises(LogUnavailable):
                await running.deliver(delivery())
        log.is_out_of_room = False
        await running.deliver(delivery())
        assert await ended(running) is SagaStatus.COMPLETED
        logged = await log.find(SAGA_ID)
        assert logged
        assert sum(isinstance(row, EventTaken) for row in logged.rows) == 1


class SlowDisk(SagaLog):
    """A log of whose writes the first one takes until somebody says so."""

    is_written: asyncio.Event
    is_writing: asyncio.Event

    async def append(self, *args: Any, **others: Any) -> None:
        self.is_writing.set()
        await self.is_written.wait()
        await super().append(*args, **others)


async def test_who_comes_while_it_is_written_that_a_saga_waits_is_told_its_result(
    path: Path, world: World
) -> None:
    definition = saga(WAIT, step("last"), events=(event(),), deadline_s=3600.0)
    async with (
        SlowDisk.open(path) as log,
        EmbeddedEngine(sagas=[definition], log=log, transports={"one": world}) as running,
    ):
        log.is_written, log.is_writing = asyncio.Event(), asyncio.Event()
        await running.accept(acceptance(definition))
        await log.is_writing.wait()
        waiting = asyncio.create_task(running.wait(SAGA_ID, 60.0))
        await asyncio.sleep(0)
        log.is_written.set()
        await eventually_async("it is written", lambda: is_in_log_that_it_waits(log))
        await running.deliver(delivery())
        assert await waiting is not None


async def is_in_log_that_it_waits(log: SagaLog) -> bool:
    logged = await log.find(SAGA_ID)
    return logged is not None and logged.is_parked


async def test_an_early_event_is_kept_and_more_than_can_be_used_are_not(path: Path, world: World) -> None:
    definition = saga(
        step("first"),
        Wait("other", StepKind.COMPENSATABLE, "other", within_s=600.0),
        WAIT,
        events=(event(), event("other")),
        deadline_s=3600.0,
        respond_after="acceptance",
    )
    async with live(path, definition, world) as (running, log):
        await running.accept(acceptance(definition))
        await eventually_async("it is parked", lambda: is_parked(running, log))
        await running.deliver(delivery())
        with pytest.raises(NotDelivered) as caught:  # hole 16
            await running.deliver(delivery(key="k2"))
        assert caught.value.refusal is Refusal.NOT_EXPECTED
        view = await running.describe(SAGA_ID)
        assert view
        assert view.unconsumed == ("answered",)
        await running.deliver(delivery("other"))
        assert await ended(running) is SagaStatus.COMPLETED


async def test_a_client_cancels_until_the_pivot(path: Path, world: World) -> None:
    cancel = Cancel(method("Cancel"), lambda scope: scope.event.value, "CUSTOMER_CANCELLED")
    definition = replace(ANSWERED, cancel=cancel)
    async with live(path, definition, world) as (running, log):
        await running.accept(acceptance(definition))
        await eventually_async("it is parked", lambda: is_parked(running, log))
        with pytest.raises(NotDelivered) as caught:
            await running.deliver(delivery(CANCEL, caller="a stranger"))
        assert caught.value.refusal is Refusal.NOT_ALLOWED
        assert (await running.deliver(delivery(CANCEL, caller="anonymous"))).is_new
        assert await ended(running) is SagaStatus.COMPENSATED
        for key in ("k1", "k2"):
            assert not (await running.deliver(delivery(CANCEL, key=key, caller="anonymous"))).is_new
        with pytest.raises(NotDelivered) as caught:
            await running.deliver(delivery(CANCEL, caller="a stranger"))
        assert caught.value.refusal is Refusal.NOT_ALLOWED, "nothing is told of it"
        logged = await log.find(SAGA_ID)
        assert logged
        (turned_back,) = (row for row in logged.rows if isinstance(row, TurnedBack))
        assert turned_back.failure.reason == "CUSTOMER_CANCELLED"


@pytest.mark.parametrize("kind", [StepKind.COMPENSATABLE, PIVOT])
async def test_what_an_operator_does_to_a_log_at_rest_is_not_left_until_a_wait_ends(
    path: Path, world: World, kind: StepKind
) -> None:
    definition = saga(
        step("first"),
        replace(WAIT, kind=kind),
        events=(event(),),
        deadline_s=3600.0,
        respond_after="acceptance",
    )
    async with live(path, definition, world) as (running, log):
        await running.accept(acceptance(definition))
        await eventually_async("it is parked", lambda: is_parked(running, log))
    async with SagaLog.open(path) as log:
        at_rest = SagasAtRest(log, Definitions([definition]))
        await at_rest.command(SAGA_ID, OperatorCommand(Act.CANCEL, "ann", "by night"))
    async with live(path, definition, world) as (running, _):
        assert await ended(running) is SagaStatus.COMPENSATED
    assert world.done(COMPENSATION) == ["first"]


async def test_a_saga_starts_later_and_is_stamped_with_its_start(path: Path, world: World) -> None:
    definition = saga(step("first"), start=Start(after_s=1.5), respond_after="acceptance")
    async with live(path, definition, world) as (running, log):
        await running.accept(acceptance(definition))
        await eventually_async("it is parked", lambda: is_parked(running, log))
        assert world.calls == []
        assert await ended(running) is SagaStatus.COMPLETED
        logged = await log.find(SAGA_ID)
        assert logged
        assert logged.accepted.started_ms == logged.accepted.at_ms + 1500
        assert [call.started_ms for call, _, _ in world.calls] == [logged.accepted.started_ms]


async def test_two_gateways_meet_at_the_claim_before_either_has_an_effect(
    tmp_path: Path, world: World
) -> None:
    definition = saga(block("both", left=[step("l1")], right=[step("r1")]))
    async with (
        live(tmp_path / "a.db", definition, world, is_alone=False) as (one, _),
        live(tmp_path / "b.db", definition, world, is_alone=False) as (two, _),
    ):
        await asyncio.gather(one.accept(acceptance(definition)), two.accept(acceptance(definition)))
        ends = {await ended(one), await ended(two)}
    assert ends == {SagaStatus.COMPLETED, SagaStatus.SUPERSEDED}, "hole 2"
    assert sorted(world.done(ACTION)) == ["l1", "r1", "~claim"]
