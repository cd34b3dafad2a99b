"""Whatever a saga is stuck at, and whatever the services go on to say: commands that are offered end it."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from engine_world import World, engine
from grpclib.const import Status as Code
from small_mesh import (
    RETRY,
    SAGA_ID,
    ManualClock,
    Text,
    acceptance,
    repeat_input,
    saga,
    step,
    text,
    usual_saga,
)
from test_decision_table import (
    ACTION,
    BEFORE_AFTER,
    BEFORE_PIVOT,
    BEFORE_TWO,
    COMPENSATION,
    T0,
    done,
    failed,
    history,
    ruled,
    turned_back,
)

from sagagen.runtime.engine.at_rest import SagasAtRest
from sagagen.runtime.engine.driver import PROCESS_DIED
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.model.definition import Direction, Saga, StepKind
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.saga.commands import (
    Act,
    CommandRejected,
    Offer,
    OperatorCommand,
    offers,
    row_for,
)
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import ENGINE_ERROR, CallNow, End, GetStuck, PassOver, TurnBack
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import (
    Cancelled,
    DoneByHand,
    Ended,
    GaveUp,
    Held,
    LogEvent,
    NextRequest,
    Outcome,
    PassedOver,
    RefusedByHand,
    Resumed,
    SagaStatus,
    Stuck,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.saga.explain import explain
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.saga.logged import LoggedSaga
from sagagen.runtime.saga.result import Succeeded, Unsuccessful
from sagagen.runtime.saga.view import StepStatus, view_of
from sagagen.runtime.scope import Failure

Rows = tuple[LogEvent, ...]


def time_up(name: str, direction: Direction) -> TimeUp:
    return TimeUp(at_ms=T0, step=name, direction=direction)


def by_mistake(direction: Direction, name: str = "") -> Stuck:
    """A mistake of the engine's own; older versions did not say at which step."""
    return Stuck(
        at_ms=T0, direction=direction, failure=Failure("INTERNAL", ENGINE_ERROR, "KeyError: 1", name)
    )


def set_aside(name: str, direction: Direction) -> Stuck:
    failure = Failure("INTERNAL", PROCESS_DIED, "the process died 3 times in a row", name)
    return Stuck(at_ms=T0, direction=direction, failure=failure)


def held(name: str, direction: Direction) -> Held:
    return Held(at_ms=T0, by="ann", step=name, direction=direction)


BACK = (*BEFORE_TWO, turned_back("two", Outcome.REFUSED))
BACK_IN_DOUBT = (*BEFORE_TWO, turned_back("two", Outcome.DOUBT))

FORWARD_REFUSALS = {
    "two": ("PAYLOAD_MISMATCH", "FORGOTTEN"),
    "pivot": ("STEP_COMPENSATED", "PAYLOAD_MISMATCH", "FORGOTTEN"),
    "after": ("OTHER_RUN", "STEP_COMPENSATED", "PAYLOAD_MISMATCH", "FORGOTTEN"),
}
BEFORE = {"two": BEFORE_TWO, "pivot": BEFORE_PIVOT, "after": BEFORE_AFTER}

CAUSES: dict[str, Rows] = {
    **{
        f"{name}: {reason}": (*BEFORE[name], ruled(name, reason))
        for name, reasons in FORWARD_REFUSALS.items()
        for reason in reasons
    },
    "pivot: its budget is spent": (*BEFORE_PIVOT, failed("pivot"), time_up("pivot", ACTION)),
    "after: its budget is spent": (*BEFORE_AFTER, failed("after"), time_up("after", ACTION)),
    "after: its budget is spent, and no failure is known": (*BEFORE_AFTER, time_up("after", ACTION)),
    "after: its request can't be built": (
        done("one"),
        done("two"),
        done("pivot", NextRequest(problem="overflow")),
    ),
    **{
        f"undoing one: {reason}": (*BACK, ruled("one", reason, COMPENSATION))
        for reason in ("OTHER_RUN", "STEP_COMPENSATED", "PAYLOAD_MISMATCH", "FORGOTTEN")
    },
    "undoing one: its budget is spent": (*BACK, failed("one", COMPENSATION), time_up("one", COMPENSATION)),
    "undoing two, in doubt: FORGOTTEN": (*BACK_IN_DOUBT, ruled("two", "FORGOTTEN", COMPENSATION)),
    "undoing two, in doubt: its budget is spent": (
        *BACK_IN_DOUBT,
        failed("two", COMPENSATION),
        time_up("two", COMPENSATION),
    ),
    **{
        f"by mistake at {name or 'the first step'}{known}": (*rows, by_mistake(ACTION, known))
        for name, rows in {"": (), **BEFORE}.items()
        for known in {"", name}
    },
    **{f"by mistake undoing{known}": (*BACK, by_mistake(COMPENSATION, known)) for known in ("", "one")},
    **{f"{name}: held": (*rows, held(name, ACTION)) for name, rows in {"one": (), **BEFORE}.items()},
    **{
        f"{name}: its call ends the process": (*rows, set_aside(name, ACTION))
        for name, rows in {"one": (), **BEFORE}.items()
    },
    "undoing one: its call ends the process": (*BACK, set_aside("one", COMPENSATION)),
    "undoing one: held": (*BACK, held("one", COMPENSATION)),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_commands_alone_end_what_is_stuck_though_no_service_ever_answers_again(cause: str) -> None:
    definition = usual_saga()
    found = stuck(definition, history(*CAUSES[cause]))
    assert found.status is SagaStatus.STUCK
    ways = list(ends(definition, found, tries=4))
    assert ways, f"nothing ends it; offered: {list(offers(definition, found))}"
    assert set(ways) <= {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}


def stuck(definition: Saga, of: History) -> History:
    if of.stuck:
        return of
    decision = decide(definition, of)
    assert isinstance(decision, GetStuck), decision
    return of.with_row(Stuck(at_ms=T0, direction=decision.direction, failure=decision.failure))


def ends(definition: Saga, of: History, tries: int) -> Iterator[SagaStatus]:
    """How it may end, by commands that vouch for something or turn back, and not by hoping."""
    if tries == 0:
        return
    for offer in offers(definition, of):
        if offer.act in (Act.RETRY, Act.HOLD):
            continue
        after = without_services(definition, of.with_row(accepted_row(offer, definition, of)))
        if after.ended:
            yield after.status
        else:
            yield from ends(definition, after, tries - 1)


def accepted_row(offer: Offer, definition: Saga, of: History) -> LogEvent:
    command = OperatorCommand(offer.act, "ann", "by hand", offer.step, offer.outcome)
    row = row_for(command, definition, of, T0)
    assert row is not None, offer
    return replace(row, next=NextRequest(b"")) if isinstance(row, DoneByHand | GaveUp) else row


def without_services(definition: Saga, of: History) -> History:
    """Go on until it is over or stuck; every call fails until its time is up."""
    while (decision := decide(definition, of)) is not None:
        match decision:
            case CallNow((call,)):
                row = failed(call.step.name, call.direction) if call.failures == 0 else None
                of = of.with_row(row or time_up(call.step.name, call.direction))
            case PassOver(name, reason, message):
                of = of.with_row(PassedOver(at_ms=T0, step=name, reason=reason, message=message))
            case TurnBack(failure, outcome):
                of = of.with_row(TurnedBack(at_ms=T0, failure=failure, outcome=outcome))
            case End(status):
                of = of.with_row(Ended(at_ms=T0, status=status))
            case GetStuck(direction, failure):
                of = of.with_row(Stuck(at_ms=T0, direction=direction, failure=failure))
            case _:
                raise AssertionError(decision)
    return of


# -- what is offered, and what is not --------------------------------------------------------------------------------

DONE, REFUSED = Outcome.DONE, Outcome.REFUSED
OFFERED: dict[str, set[Offer]] = {
    "two: FORGOTTEN": {Offer(Act.RETRY, "two"), Offer(Act.CANCEL, "")},
    "pivot: its budget is spent": {
        Offer(Act.RETRY, "pivot"),
        Offer(Act.RESOLVE, "pivot", DONE),
        Offer(Act.RESOLVE, "pivot", REFUSED),
    },
    "after: its budget is spent": {
        Offer(Act.RETRY, "after"),
        Offer(Act.RESOLVE, "after"),
        Offer(Act.SKIP, "after"),
    },
    "after: its request can't be built": {Offer(Act.RESOLVE, "after"), Offer(Act.SKIP, "after")},
    "undoing one: FORGOTTEN": {Offer(Act.RETRY, "one"), Offer(Act.RESOLVE, "one")},
}


@pytest.mark.parametrize("cause", OFFERED)
def test_what_is_offered_is_what_is_accepted(cause: str) -> None:
    definition = usual_saga()
    found = stuck(definition, history(*CAUSES[cause]))
    assert set(offers(definition, found)) == OFFERED[cause]
    step_name = next(offer.step for offer in OFFERED[cause] if offer.step)
    for act in Act:
        for outcome in (None, DONE, REFUSED) if act is Act.RESOLVE else (None,):
            command = OperatorCommand(act, "ann", "why", step_name, outcome)
            is_offered = any(
                offer.act is act and (outcome is None or offer.outcome in (None, outcome))
                for offer in OFFERED[cause]
            )
            if act is Act.RESOLVE and outcome is None and Offer(act, step_name) not in OFFERED[cause]:
                is_offered = False
            if outcome is REFUSED and Offer(act, step_name) in OFFERED[cause]:
                is_offered = False
            if act is Act.HOLD:
                assert row_for(command, definition, found, T0) is None, "it is held already"
            elif is_offered:
                assert row_for(command, definition, found, T0)
            else:
                with pytest.raises(CommandRejected):
                    row_for(command, definition, found, T0)


REJECTED: list[tuple[str, OperatorCommand, str]] = [
    ("pivot: FORGOTTEN", OperatorCommand(Act.SKIP, "a", "n", "pivot"), "never skipped"),
    ("pivot: FORGOTTEN", OperatorCommand(Act.RESOLVE, "a", "n", "pivot"), "done or refused"),
    ("pivot: FORGOTTEN", OperatorCommand(Act.RESOLVE, "a", "n", "after", DONE), "not at step after any more"),
    ("pivot: FORGOTTEN", OperatorCommand(Act.RESOLVE, "a", " ", "pivot", DONE), "needs a note"),
    ("pivot: FORGOTTEN", OperatorCommand(Act.RESOLVE, "a", "n", "", DONE), "names the step"),
    ("pivot: FORGOTTEN", OperatorCommand(Act.CANCEL, "a"), "only goes forward"),
    ("two: FORGOTTEN", OperatorCommand(Act.RESOLVE, "a", "n", "two", DONE), "`cancel` the saga"),
    ("two: FORGOTTEN", OperatorCommand(Act.SKIP, "a", "n", "two"), "`cancel` the saga"),
    ("after: FORGOTTEN", OperatorCommand(Act.RESOLVE, "a", "n", "after", REFUSED), "`skip` step after"),
    ("after: its request can't be built", OperatorCommand(Act.RETRY, "a"), "no retry changes that"),
    ("undoing one: FORGOTTEN", OperatorCommand(Act.SKIP, "a", "n", "one"), "never skipped"),
    ("undoing one: FORGOTTEN", OperatorCommand(Act.RESOLVE, "a", "n", "one", REFUSED), "only be done"),
    ("undoing one: FORGOTTEN", OperatorCommand(Act.RESOLVE, "a", "n", "two"), "undoing step one"),
    ("undoing one: FORGOTTEN", OperatorCommand(Act.RETRY, "a", "", "two"), "undoing step one"),
]


@pytest.mark.parametrize(("cause", "command", "says"), REJECTED)
def test_what_is_not_offered_is_rejected_with_the_way_out(
    cause: str, command: OperatorCommand, says: str
) -> None:
    definition = usual_saga()
    with pytest.raises(CommandRejected, match=says):
        row_for(command, definition, stuck(definition, history(*CAUSES[cause])), T0)


def test_only_what_is_stuck_is_settled_by_hand_and_hold_makes_it_so() -> None:
    definition = usual_saga()
    failing = history(*BACK, failed("one", COMPENSATION))
    resolve = OperatorCommand(Act.RESOLVE, "ann", "refunded", "one")
    with pytest.raises(CommandRejected, match="`hold` it first"):
        row_for(resolve, definition, failing, T0)
    row = row_for(OperatorCommand(Act.HOLD, "ann", step="one"), definition, failing, T0)
    assert isinstance(row, Held)
    kept = failing.with_row(row)
    assert kept.status is SagaStatus.STUCK
    assert decide(definition, kept) is None
    explained = explain(definition, kept, "")
    assert (explained.step, "held" in explained.error, "UNAVAILABLE" in explained.error) == (
        "one",
        True,
        True,
    )
    assert row_for(resolve, definition, kept, T0)


def test_a_failure_is_said_once() -> None:
    found = stuck(usual_saga(), history(*CAUSES["after: its budget is spent"]))
    assert explain(usual_saga(), found, "").error == "UNAVAILABLE: why"


def test_resolving_twice_does_not_vouch_for_the_next_compensation() -> None:
    definition = usual_saga()
    back = (*BEFORE_PIVOT, turned_back("pivot", Outcome.REFUSED))
    command = OperatorCommand(Act.RESOLVE, "ann", "by hand", "two")
    first = stuck(definition, history(*back, ruled("two", "FORGOTTEN", COMPENSATION)))
    row = row_for(command, definition, first, T0)
    assert row is not None
    second = stuck(definition, first.with_row(row).with_row(ruled("one", "FORGOTTEN", COMPENSATION)))
    assert row_for(command, definition, second, T0) is None, "it is done, and means no more"
    with pytest.raises(CommandRejected, match="names the step"):
        row_for(replace(command, step=""), definition, second, T0)


# -- in an engine ----------------------------------------------------------------------------------------------------

DOWN_FOR_EVER = ["down"] * 2000
SLOW = replace(RETRY, max_s=600.0)
"""With the default budget, and few attempts in it."""
NOTE = "the bank says so"


def read_pivot(scope: object) -> Text:
    return Text(value=scope.response("pivot", Text).value)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]


def read_after(scope: object) -> Text:
    return Text(value=scope.response("after", Text).value)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]


def long_saga(
    body: Callable[[object], Text] = repeat_input,  # pyright: ignore[reportArgumentType]
    respond_after: str = "completion",
) -> Saga:
    definition = saga(
        step("one"),
        step("pivot", StepKind.PIVOT, retry=SLOW),
        step("after", StepKind.RETRIABLE, request=read_pivot),
        step("last", StepKind.RETRIABLE, request=read_after),
        respond_after=respond_after,
    )
    return replace(definition, respond=replace(definition.respond, body=body))


@dataclass
class Running:
    """A saga that is stuck in an engine."""

    engine: EmbeddedEngine
    log: SagaLog

    async def logged(self) -> LoggedSaga:
        found = await self.log.find(SAGA_ID)
        assert found
        return found

    async def history(self) -> History:
        return fold((await self.logged()).rows)

    async def order(
        self, act: Act, step: str, outcome: Outcome | None = None, response: bytes | None = None
    ) -> None:
        await self.engine.command(SAGA_ID, OperatorCommand(act, "ann", NOTE, step, outcome, response))
        await self.engine.wait_until_idle()


@asynccontextmanager
async def running(definition: Saga, world: World, folder: Path) -> AsyncGenerator[Running]:
    async with (
        SagaLog.open(folder / "log.db") as log,
        engine(definition, log, world, world.clock) as started,
    ):
        if await log.find(SAGA_ID) is None:
            await started.accept(acceptance(definition))
        await started.wait_until_idle()
        yield Running(started, log)


def world_without(*names: str) -> World:
    faults: dict[tuple[str, Direction], list[str | RpcError]] = {
        (name, ACTION): [*DOWN_FOR_EVER] for name in names
    }
    return World(ManualClock(), faults=faults)


async def test_a_pivot_that_can_t_succeed_is_stuck_after_its_budget_and_resolved_with_its_response(
    tmp_path: Path,
) -> None:
    world = world_without("pivot")
    async with running(long_saga(), world, tmp_path) as it:
        found = await it.history()
        assert (found.status, *found.stuck) == (SagaStatus.STUCK, "pivot")
        assert (found.stuck["pivot"].at_ms - found.accepted.at_ms) == pytest.approx(86_400_000, rel=0.01)
        await it.order(Act.RESOLVE, "pivot", response=text("receipt 7"))
        await it.order(Act.RESOLVE, "pivot", response=text("receipt 7"))
        rows = (await it.logged()).rows
        assert fold(rows).status is SagaStatus.COMPLETED
        (by_hand,) = [row for row in rows if isinstance(row, DoneByHand)]
        assert (by_hand.by, by_hand.note, by_hand.next.body) == ("ann", NOTE, text("receipt 7"))
    assert world.done(ACTION) == ["one", "after", "last"]
    assert world.done(COMPENSATION) == []


async def test_a_pivot_that_was_found_not_to_have_happened_turns_the_saga_back(tmp_path: Path) -> None:
    world = world_without("pivot")
    async with running(long_saga(), world, tmp_path) as it:
        await it.order(Act.RESOLVE, "pivot", Outcome.REFUSED)
        rows = (await it.logged()).rows
        found = fold(rows)
        assert found.status is SagaStatus.COMPENSATED
        assert isinstance(found.result, Unsuccessful)
        assert (found.result.is_refused, found.result.failure.reason) == (True, "REFUSED_BY_OPERATOR")
        assert NOTE not in found.result.failure.message, "the note is not for the client"
        assert any(isinstance(row, RefusedByHand) and row.note == NOTE for row in rows)
    assert world.done(COMPENSATION) == ["one"]


@pytest.mark.parametrize("is_at_rest", [False, True])
async def test_skipped_steps_are_said_to_be_incomplete_and_what_reads_them_can_be_skipped_too(
    tmp_path: Path, is_at_rest: bool
) -> None:
    definition, world = long_saga(read_after, respond_after="after"), world_without("after")
    async with running(definition, world, tmp_path) as it:
        if not is_at_rest:
            await it.order(Act.SKIP, "after")
    if is_at_rest:
        async with SagaLog.open(tmp_path / "log.db") as log:
            sagas = SagasAtRest(log, Definitions([definition]))
            skip = OperatorCommand(Act.SKIP, "ann", NOTE, "after")
            await sagas.command(SAGA_ID, skip)
            await sagas.command(SAGA_ID, skip)
    async with running(definition, world, tmp_path) as it:
        found = await it.history()
        (stuck,) = found.stuck.values()
        assert "reads the response of step after, which was skipped" in stuck.failure.message
        assert found.result == Succeeded(201, "test.v1.Text", b""), "of what was skipped the default is read"
        await it.order(Act.SKIP, "last")
        found = await it.history()
        view = view_of(found, definition)
        assert (view.status, view.incomplete) == (SagaStatus.COMPLETED, ("after", "last"))
        assert [each.status for each in view.steps[2:]] == [StepStatus.GAVE_UP] * 2
        assert sum(isinstance(row, GaveUp) for row in (await it.logged()).rows) == 2
    assert world.done(COMPENSATION) == []


async def test_a_compensation_that_can_t_be_built_names_its_step_and_is_resolved(tmp_path: Path) -> None:
    def broken(_scope: object) -> Text:
        raise KeyError("nothing")

    usual = saga(step("one"), step("two"), step("pivot", StepKind.PIVOT))
    two = usual.calls[1]
    assert two.compensation
    two = replace(two, compensation=replace(two.compensation, request=broken))
    definition = replace(usual, steps=(usual.calls[0], two, usual.calls[2]))
    world = World(ManualClock(), declines=frozenset({"pivot"}))
    async with running(definition, world, tmp_path) as it:
        found = await it.history()
        (stuck,) = found.stuck.values()
        assert (stuck.failure.step, stuck.failure.reason) == ("two", ENGINE_ERROR)
        await it.order(Act.RESOLVE, "two")
        assert (await it.history()).status is SagaStatus.COMPENSATED
    assert world.done(COMPENSATION) == ["one"]


async def test_an_answer_that_can_t_be_built_keeps_no_saga_from_its_end(tmp_path: Path) -> None:
    def broken(_scope: object) -> Text:
        raise ValueError("no answer")

    async with running(long_saga(broken), World(ManualClock()), tmp_path) as it:
        found = await it.history()
        assert (found.status, found.result) == (SagaStatus.COMPLETED, Succeeded(201, "test.v1.Text", b""))


async def test_a_held_saga_makes_no_call_until_it_is_told_how_to_go_on(tmp_path: Path) -> None:
    forgotten = RpcError(Code.FAILED_PRECONDITION, "forgotten", reason="FORGOTTEN", domain=DOMAIN)
    world = World(ManualClock(), faults={("pivot", ACTION): [forgotten]})
    async with running(long_saga(), world, tmp_path) as it:
        calls = len(world.calls)
        await it.order(Act.HOLD, "pivot")
        assert len(world.calls) == calls
        await it.order(Act.RETRY, "pivot")
        assert (await it.history()).status is SagaStatus.COMPLETED
        with pytest.raises(CommandRejected, match="over"):
            await it.order(Act.HOLD, "pivot")


def kinds(rows: Sequence[LogEvent]) -> list[str]:
    return [type(row).__name__ for row in rows]


async def test_cancelling_twice_is_cancelling_once(tmp_path: Path) -> None:
    forgotten = RpcError(Code.FAILED_PRECONDITION, "forgotten", reason="FORGOTTEN", domain=DOMAIN)
    world = World(ManualClock(), faults={("one", ACTION): [forgotten]})
    async with running(long_saga(), world, tmp_path) as it:
        for _ in range(3):
            await it.order(Act.CANCEL, "")
        rows = (await it.logged()).rows
        assert (fold(rows).status, kinds(rows).count("Cancelled")) == (SagaStatus.COMPENSATED, 1)


@pytest.mark.parametrize(
    ("rows", "is_taken"),
    [
        ((Resumed(at_ms=T0),), True),
        ((*BEFORE_TWO, Resumed(at_ms=T0)), True),
        ((*BEFORE_TWO, Resumed(at_ms=T0), ruled("two", "FORGOTTEN")), True),
        ((*BEFORE_PIVOT, Resumed(at_ms=T0)), False),
        ((*BEFORE_AFTER, Resumed(at_ms=T0)), False),
    ],
    ids=["one", "two", "two, which fails", "pivot", "after"],
)
def test_a_restart_takes_from_nobody_the_way_back(rows: Sequence[LogEvent], is_taken: bool) -> None:
    command = OperatorCommand(Act.CANCEL, "ann", "wrong order")
    if is_taken:
        assert isinstance(row_for(command, usual_saga(), history(*rows), T0), Cancelled)
    else:
        with pytest.raises(CommandRejected, match="only goes forward"):
            row_for(command, usual_saga(), history(*rows), T0)
