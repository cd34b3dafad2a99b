"""What generated/docs says of failing elements happens on a running engine: calls in branches and loops, waits, delays.

The failure table is made from the contract's model, and the engine runs a definition of the same shape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from engine_world import PatientClock, World, engine
from small_mesh import BUDGETED, SAGA_ID, ManualClock, Text, acceptance, method, saga, step, text
from stack import REPOSITORY
from waiting import eventually_async

from sagagen.contract import model, read_contract
from sagagen.emit.failure_paths import FailurePath, Fault, SideBySide, Undoing, WayBack, failure_paths
from sagagen.expression import ListExpr, ValueExpr
from sagagen.expression.tree import Constant
from sagagen.expression.types import Simple
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.port import CANCEL, Delivery
from sagagen.runtime.log.store import SagaLog
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
    Step,
    StepKind,
    Wait,
)
from sagagen.runtime.rpc.errors import Code, RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.saga.result import Unsuccessful
from sagagen.runtime.saga.view import SagaView, StepStatus
from sagagen.runtime.scope import EventScope, Scope, step_name

COMPENSATABLE, PIVOT, RETRIABLE = StepKind
TRUE = ValueExpr(Constant(True, Simple.BOOL))
LATE_S = 10.0


@cache
def shop_s() -> model.Saga:
    mesh, findings = read_contract(REPOSITORY)
    assert mesh, findings
    return mesh.sagas[0]


def of_contract(definition: Saga) -> model.Saga:
    """The contract that becomes a definition of this shape; what its calls are does not matter."""
    span, trigger = shop_s().span, shop_s().trigger
    events = tuple(model.Event(each.name, trigger, TRUE, None, None, span) for each in definition.events)
    cancel = model.Cancel(trigger, TRUE, "NO_MORE", None, span) if definition.cancel else None
    steps = tuple(map(_element, definition.steps))
    return replace(shop_s(), steps=steps, events=events, cancel=cancel)


def _element(element: Element) -> model.Element:
    span = shop_s().span
    match element:
        case Step():
            template = next(each for each in shop_s().calls if each.compensation)
            loop = model.ForEach("item", ListExpr(TRUE.root, Simple.STRING), None, 2, 10)
            return replace(
                template,
                name=element.name,
                kind=element.kind,
                compensation=template.compensation if element.compensation else None,
                for_each=loop if element.for_each else None,
                gives_up=element.gives_up,
            )
        case Wait(name, kind, event, within_s):
            decline = model.Decline(TRUE, "NO") if element.decline else None
            return model.Wait(name, kind, event, within_s, span, decline, element.on_timeout)
        case Delay(name, kind):
            return model.Delay(name, kind, span, element.after_s, at_most_s=element.at_most_s)
        case Parallel(name, kind, branches):
            below = (model.Branch(each.name, tuple(map(_element, each.steps)), span) for each in branches)
            return model.Parallel(name, kind, tuple(below), span)


def block(name: str, kind: StepKind = COMPENSATABLE, **branches: Sequence[Element]) -> Parallel:
    return Parallel(name, kind, tuple(Branch(each, tuple(steps)) for each, steps in branches.items()))


def loop(name: str) -> Step:
    def items(scope: Scope[Text]) -> list[str]:
        return ["a", "b"]

    return replace(step(name), for_each=ForEach(items, None, at_once=2))


def says_no(scope: EventScope[Text, Text]) -> bool:
    return scope.event.value == "no"


def its_id(scope: EventScope[Text, Text]) -> str:
    return SAGA_ID


def anybody(scope: EventScope[Text, Text]) -> bool:
    return True


CALLS = saga(
    step("first"),
    block(
        "both",
        left=[step("l1"), step("l2")],
        right=[step("r1"), block("inner", x=[step("x1")], y=[step("y1", is_compensated=False), step("y2")])],
    ),
    loop("each"),
    step("pivot", PIVOT, retry=BUDGETED),
    block(
        "after",
        RETRIABLE,
        left=[replace(step("a1", RETRIABLE), gives_up=True)],
        right=[step("b1", RETRIABLE)],
    ),
    deadline_s=LATE_S,
)
ANSWER = Wait("answer", COMPENSATABLE, "told", 5.0, Decline(says_no, "SAID_NO"), "SILENT")
WAITS = replace(
    saga(
        step("first"),
        block("both", left=[step("l1"), ANSWER], right=[step("r1")]),
        step("pivot", PIVOT),
        deadline_s=LATE_S,
    ),
    events=(Event("told", method("Tell"), its_id),),
    cancel=Cancel(method("Cancel"), its_id, "NO_MORE", anybody),
)
GOES_ON = replace(
    WAITS, steps=(step("first"), replace(ANSWER, decline=None, on_timeout=None), step("pivot", PIVOT))
)
DELAYS = replace(
    WAITS,
    steps=(step("first"), Delay("pause", COMPENSATABLE, after_s=3600.0), step("pivot", PIVOT)),
    events=(),
)


def hours(scope: Scope[Text]) -> float:
    return 7200.0


def heads(way: WayBack, done: frozenset[str]) -> frozenset[str]:
    """What may be undone next on a way back, when these steps are undone or need not be."""
    for each in way:
        match each:
            case Undoing(name):
                found = frozenset({name}) - done
            case SideBySide(branches):
                found = frozenset[str]().union(*(heads(branch, done) for branch in branches))
        if found:
            return found
    return frozenset()


def assert_undone(undone: Sequence[str], path: FailurePath) -> None:
    """In mirrored order. Steps beside the one that failed are not there if they had not begun by then."""
    names = [step_name(key) for key in undone]
    left = {each.step for each in path.undone if each.is_left}
    missing = {each.step for each in path.undone} - left - {*names}
    done = left | missing
    for at, name in enumerate(names):
        assert name in heads(path.back, frozenset(done)), (name, path)
        if name not in names[at + 1 :]:
            done.add(name)


@dataclass
class Failing(World):
    """A world in which one step's calls get lost on their way."""

    lost: str = ""

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        call = SagaCall.from_metadata(metadata)
        if call and call.direction is Direction.ACTION and call.step == self.lost:
            raise RpcError(Code.UNAVAILABLE, "no connection")
        return await super().call(path, request, metadata=metadata, timeout_s=timeout_s)


def key_of(definition: Saga, name: str) -> str:
    """Of the call that fails: in a loop that of the last item."""
    found = next((each for each in definition.calls if each.name == name), None)
    return f"{name}[1]" if found and found.for_each else name


async def ended(running: EmbeddedEngine) -> SagaView:
    view = await eventually_async(
        "the saga to end",
        lambda: running.describe(SAGA_ID),
        lambda view: bool(view and not view.status.is_active),
    )
    assert view
    return view


def assert_as_told(view: SagaView, world: World, definition: Saga, path: FailurePath) -> None:
    undone = world.done(Direction.COMPENSATION)
    assert view.status == path.status
    assert_undone(undone, path)
    if path.outcome:  # it turned back, and left nothing behind
        undoable = {each.name for each in definition.calls if each.compensation}
        done = {step_name(key) for key in world.done(Direction.ACTION)}
        assert done & undoable <= {step_name(key) for key in undone}


@pytest.mark.parametrize(("name", "fault"), failure_paths(of_contract(CALLS)))
async def test_a_call_that_fails(tmp_path: Path, name: str, fault: Fault) -> None:
    definition = CALLS
    if fault is Fault.NOT_BUILT:
        definition = replace(CALLS, steps=tuple(map(too_long, CALLS.steps)))
    clock, path = ManualClock(), failure_paths(of_contract(CALLS))[name, fault]
    key = key_of(CALLS, name)
    world = Failing(clock, lost=key if fault is Fault.NO_ANSWER else "")
    world.declines = frozenset({key} if fault is Fault.DECLINED else ())
    async with SagaLog.open(tmp_path / "log.db") as log, engine(definition, log, world, clock) as running:
        await running.accept(acceptance(definition))
        view = await ended(running)
    assert_as_told(view, world, CALLS, path)
    assert {step_name(key) for key in view.incomplete} == ({name} if path.status == "COMPLETED" else set())


def too_long(element: Element) -> Element:
    """A loop whose list is longer than it may be."""
    found = element.for_each if isinstance(element, Step) else None
    return replace(element, for_each=replace(found, max_items=1)) if found else element


def with_second(definition: Saga, element: Element) -> Saga:
    first, _, *others = definition.steps
    return replace(definition, steps=(first, element, *others))


TIMES = {
    "silent": (WAITS, "answer", Fault.TIMED_OUT),
    "goes_on": (GOES_ON, "answer", Fault.TIMED_OUT),
    "late": (with_second(WAITS, replace(ANSWER, within_s=None)), "answer", Fault.LATE),
    "late_delay": (DELAYS, "pause", Fault.LATE),
    "long_delay": (
        with_second(DELAYS, Delay("pause", COMPENSATABLE, after=hours, at_most_s=60.0)),
        "pause",
        Fault.NOT_BUILT,
    ),
}


@pytest.mark.parametrize("case", TIMES)
async def test_time_that_passes(tmp_path: Path, case: str) -> None:
    definition, name, fault = TIMES[case]
    clock, path = ManualClock(), failure_paths(of_contract(definition))[name, fault]
    world = World(clock)
    async with SagaLog.open(tmp_path / "log.db") as log, engine(definition, log, world, clock) as running:
        await running.accept(acceptance(definition))
        view = await ended(running)
    assert_as_told(view, world, definition, path)


SENT = {
    "refusal": (WAITS, "answer", Fault.DECLINED, "told"),
    "cancelled wait": (WAITS, "answer", Fault.CANCELLED, CANCEL),
    "cancelled delay": (DELAYS, "pause", Fault.CANCELLED, CANCEL),
}


@pytest.mark.parametrize("case", SENT)
async def test_what_a_client_sends(tmp_path: Path, case: str) -> None:
    definition, name, fault, event = SENT[case]
    clock, path = PatientClock(), failure_paths(of_contract(definition))[name, fault]
    world = World(clock)
    async with SagaLog.open(tmp_path / "log.db") as log, engine(definition, log, world, clock) as running:
        await running.accept(acceptance(definition))
        await eventually_async(
            "the saga to wait", lambda: running.describe(SAGA_ID), lambda view: waits(view, name)
        )
        await running.deliver(Delivery(definition.name, SAGA_ID, event, "k", b"", text("no"), "anonymous"))
        view = await ended(running)
        result = await running.wait(SAGA_ID, 5)
    assert isinstance(result, Unsuccessful)
    assert result.is_cancelled is (fault is Fault.CANCELLED)
    assert_as_told(view, world, definition, path)


def waits(view: SagaView | None, name: str) -> bool:
    """The element waits, and all else that can be done beside it is done."""
    states = {each.name: each.status for each in view.steps} if view else {}
    return states.get(name) is StepStatus.WAITING and StepStatus.RUNNING not in states.values()
