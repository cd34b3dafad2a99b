"""What becomes of a saga when one of its elements fails: the engine's own decisions, without an engine.

The docs promise what is undone, in which order, and what the client gets. None of that is decided a second time here:
`decide` gets the rows that a running engine would write, until it says that the saga has ended or waits for an
operator. Played is the longest way: nothing is skipped, every loop has two items, and the branches beside the one that
fails have done all that they can do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from grpclib.const import Status as Code

from sagagen.contract import model
from sagagen.emit.on_paper import on_paper
from sagagen.emit.saga_tree import every
from sagagen.runtime.model.definition import Direction, ForEach, Saga, Step, StepKind, Wait
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import (
    CallNow,
    Decision,
    End,
    GetStuck,
    GiveUp,
    PassOver,
    Pause,
    Plan,
    Receive,
    StepCall,
    TurnBack,
)
from sagagen.runtime.saga.events import (
    Accepted,
    Cancelled,
    Compensated,
    Done,
    EventTaken,
    Failed,
    GaveUp,
    LogEvent,
    LoopPlanned,
    NextRequest,
    Outcome,
    PassedOver,
    Planned,
    SagaStatus,
    Stuck,
    TimedOut,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.saga.history import History

ITEMS = ("1", "2")
"""Keys of the items of every loop."""


class Fault(Enum):
    """How an element goes wrong."""

    DECLINED = "declined"
    """The handler says no, or the contract takes the event for a refusal."""
    NO_ANSWER = "no answer"
    """A call fails, or is not answered, until its time is up: it may have happened."""
    TIMED_OUT = "timed out"
    """No event comes within a wait's time."""
    LATE = "deadline passed"
    """The saga's deadline passes while it waits."""
    CANCELLED = "cancelled"
    """The client cancels the saga meanwhile."""
    NOT_BUILT = "not built"
    """A loop's list is none that it can run over, or a delay would take too long."""


def faults(saga: model.Saga, element: model.Element) -> Iterator[Fault]:
    """How this element can go wrong, in the order in which the docs tell it.

    That an expression fails is no way of its own: it may happen to any element, with the same consequences.
    """
    is_undoable = element.kind is not StepKind.RETRIABLE
    match element:
        case model.Parallel():
            return
        case model.Step():
            yield from (Fault.DECLINED, Fault.NO_ANSWER)
            yield from (Fault.NOT_BUILT,) if element.for_each else ()
        case model.Wait():
            yield from (Fault.DECLINED,) if element.decline else ()
            yield from (Fault.TIMED_OUT,) if element.within_s is not None else ()
            yield from (Fault.LATE,) if is_undoable else ()
        case model.Delay():
            yield from (Fault.NOT_BUILT,) if element.at_most_s is not None else ()
            yield from (Fault.LATE,) if is_undoable else ()
    if saga.cancel and is_undoable:
        yield Fault.CANCELLED


@dataclass(frozen=True, slots=True)
class Undoing:
    """One step on the way back."""

    step: str
    is_left: bool
    """Nothing is sent: a read, or `compensate: none`."""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Branches on the way back, none of which waits for another."""

    branches: "tuple[WayBack, ...]"


WayBack = tuple[Undoing | SideBySide, ...]
"""One after the other, in this order."""


@dataclass(frozen=True, slots=True)
class FailurePath:
    """What follows when `step` fails in this way."""

    step: str
    """The element's name."""
    fault: Fault
    back: WayBack
    outcome: Outcome | None
    """What is known of the failed step when the saga turns back; None if the saga does not turn back."""
    status: SagaStatus
    """How it ends; STUCK where it waits for an operator."""

    @property
    def undone(self) -> tuple[Undoing, ...]:
        """All of the way back, branches one after the other."""
        return tuple(_flat(self.back))


FailurePaths = Mapping[tuple[str, Fault], FailurePath]
"""By element and fault, in the order of the contract."""


def failure_paths(saga: model.Saga) -> FailurePaths:
    """Play through everything that may go wrong."""
    paper = on_paper(saga)
    reason = saga.cancel.reason if saga.cancel else ""
    return {
        (element.name, fault): Play(paper, element.name, fault, reason).run(saga)
        for element in every(saga.steps)
        for fault in faults(saga, element)
    }


def mirrored(elements: Sequence[model.Element], undone: Mapping[str, bool]) -> WayBack:
    """The way back over these elements. `undone`: the steps that are on it, and whether nothing is sent for them."""
    back: list[Undoing | SideBySide] = []
    for element in reversed(elements):
        match element:
            case model.Parallel(branches=branches):
                back += _beside([mirrored(branch.steps, undone) for branch in branches])
            case _ if element.name in undone:
                back.append(Undoing(element.name, undone[element.name]))
            case _:
                pass
    return tuple(back)


def _beside(branches: Sequence[WayBack]) -> WayBack:
    ways = tuple(way for way in branches if way)
    return (SideBySide(ways),) if len(ways) > 1 else ways[0] if ways else ()


def _flat(back: WayBack) -> Iterator[Undoing]:
    for each in back:
        if isinstance(each, Undoing):
            yield each
        else:
            for branch in each.branches:
                yield from _flat(branch)


@dataclass
class Play:
    """A saga in which everything succeeds but one element, and that fails when nothing else is left to do."""

    saga: Saga
    step: str
    fault: Fault
    cancel_reason: str = ""
    undone: dict[str, bool] = field(default_factory=dict[str, bool])
    has_failed: bool = False

    def run(self, contract: model.Saga) -> FailurePath:
        self.history = History.begin(_accepted(self.saga))
        while (decision := decide(self.saga, self.history)) is not None:
            if isinstance(decision, End):
                return self._path(contract, decision.status)
            self._take(decision)
        return self._path(contract, self.history.status)

    def _path(self, contract: model.Saga, status: SagaStatus) -> FailurePath:
        turned_back = self.history.turned_back
        back = mirrored(contract.steps, self.undone)
        return FailurePath(self.step, self.fault, back, turned_back.outcome if turned_back else None, status)

    def _take(self, decision: Decision) -> None:
        """Carry out one decision."""
        match decision:
            case Plan(elements):
                for element in elements:
                    self.plan(element.name, element.for_each if isinstance(element, Step) else None)
            case CallNow(calls, pauses):
                self.go_on(calls, pauses)
            case Receive(wait, event):
                self._receive(wait, event)
            case PassOver(step, reason, message):
                self.undone[_name(step)] = True
                self._add(PassedOver(at_ms=0, step=step, reason=reason, message=message))
            case TurnBack(failure, outcome, doubt):
                self._add(TurnedBack(at_ms=0, failure=failure, outcome=outcome, doubt=doubt))
            case GiveUp(failure):
                self._add(GaveUp(at_ms=0, failure=failure))
            case GetStuck(direction, failure):
                self._add(Stuck(at_ms=0, direction=direction, failure=failure))
            case End():
                raise AssertionError("the last decision is not carried out")

    def plan(self, name: str, loop: ForEach | None) -> None:
        if name == self.step and self.fault is Fault.NOT_BUILT:
            self._add(Planned(at_ms=0, next=NextRequest(step=name, problem="it is not built")))
            return
        if loop:
            self._add(LoopPlanned(at_ms=0, step=name, keys=ITEMS, at_once=len(ITEMS)))
        for key in [f"{name}[{item}]" for item in ITEMS] if loop else [name]:
            self._add(Planned(at_ms=0, next=NextRequest(b"", step=key)))

    def go_on(self, calls: Sequence[StepCall], pauses: Sequence[Pause]) -> None:
        """One thing at a time, and what fails last."""
        for call in calls:
            if _name(call.key) != self.step or call.direction is Direction.COMPENSATION:
                return self._succeed(call)
        for pause in pauses:
            if pause.key != self.step:
                return self._pass(pause)
        if len(calls) > 1:
            return self._succeed(calls[0])
        return self.fail_call(calls[0]) if calls else self.fail_pause(pauses[0])

    def _succeed(self, call: StepCall) -> None:
        if call.direction is Direction.COMPENSATION:
            self.undone[_name(call.key)] = False
            self._add(Compensated(at_ms=0, step=call.key, attempt=1))
        else:
            self._add(Done(at_ms=0, step=call.key, attempt=1, response=b"", next=NextRequest()))

    def _pass(self, pause: Pause) -> None:
        if isinstance(pause.element, Wait):
            self._take_event(pause.element)
        else:
            self._add(Done(at_ms=0, step=pause.key, attempt=0, response=b"", next=NextRequest()))

    def _take_event(self, wait: Wait) -> None:
        self._add(
            EventTaken(at_ms=0, event=wait.event, key=wait.name, fingerprint=b"", payload=b"", caller="")
        )

    def _receive(self, wait: Wait, event: int) -> None:
        if wait.name == self.step and self.fault is Fault.DECLINED:
            self._add(_failed(wait.name, Outcome.REFUSED, Code.FAILED_PRECONDITION, event))
        else:
            self._add(Done(at_ms=0, step=wait.name, attempt=0, response=b"", next=NextRequest(), event=event))

    def fail_call(self, call: StepCall) -> None:
        is_pivot = call.step.kind is StepKind.PIVOT
        if self.fault is Fault.CANCELLED:
            if not is_pivot:
                self._add(_failed(call.key, Outcome.DOUBT, Code.CANCELLED))
            self._add(Cancelled(at_ms=0, reason=self.cancel_reason))
        elif self.has_failed:
            self._add(TimeUp(at_ms=0, step=call.key, direction=Direction.ACTION))
        elif self.fault is Fault.DECLINED:
            # A refusal of a step that must go through is not recorded: it is repeated like any other failure.
            is_settled = call.step.kind is not StepKind.RETRIABLE or call.step.gives_up
            outcome = Outcome.REFUSED if is_settled else Outcome.DOUBT
            self._add(_failed(call.key, outcome, Code.FAILED_PRECONDITION))
        else:
            self._add(_failed(call.key, Outcome.DOUBT, Code.UNAVAILABLE))
        self.has_failed = True

    def fail_pause(self, pause: Pause) -> None:
        match self.fault:
            case Fault.DECLINED:
                assert isinstance(pause.element, Wait), "only an event is a refusal"
                self._take_event(pause.element)
            case Fault.TIMED_OUT:
                self._add(TimedOut(at_ms=0, step=pause.key))
            case Fault.LATE:
                self._add(TimeUp(at_ms=0, step=pause.key, direction=Direction.ACTION))
            case _:
                self._add(Cancelled(at_ms=0, reason=self.cancel_reason))

    def _add(self, row: LogEvent) -> None:
        self.history = self.history.with_row(row)


def _name(key: str) -> str:
    """Of the step that a key is of."""
    return key.partition("[")[0]


def _failed(key: str, outcome: Outcome, code: Code, event: int | None = None) -> Failed:
    return Failed(
        at_ms=0, step=key, direction=Direction.ACTION, attempt=1, outcome=outcome, code=code, event=event
    )


def _accepted(saga: Saga) -> Accepted:
    return Accepted(
        at_ms=0,
        saga_id="",
        saga=saga.name,
        version=saga.version,
        digest=saga.digest,
        run="",
        caller="",
        key="",
        fingerprint=b"",
        input=b"",
        trace=TraceContext("", ""),
        next=NextRequest(),
    )
