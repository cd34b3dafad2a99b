"""A saga as it is shown: where it stands and what its steps did, without payloads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sagagen.runtime.model.definition import Direction, Element, ForEach, Parallel, Saga, Step, Wait
from sagagen.runtime.rpc.claim import CLAIM
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import CallNow
from sagagen.runtime.saga.events import (
    START,
    Compensated,
    GaveUp,
    Outcome,
    PassedOver,
    Resolved,
    SagaStatus,
    Skipped,
    TimedOut,
    TurnedBack,
)
from sagagen.runtime.saga.history import NOBODY_KNOWS, History

_NO_STEPS = frozenset({CLAIM, START, NOBODY_KNOWS})
"""What stands among the steps of a log and is in no contract."""


class StepStatus(StrEnum):
    PENDING = "PENDING"
    """Not called yet."""
    RUNNING = "RUNNING"
    """Called, or about to be; after a failure it is called again."""
    DONE = "DONE"
    REFUSED = "REFUSED"
    NOT_CALLED = "NOT_CALLED"
    """The saga turned back before it."""
    IN_DOUBT = "IN_DOUBT"
    """The saga turned back without knowing whether it happened; it is compensated."""
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"
    PASSED_OVER = "PASSED_OVER"
    """Left as it is when the saga turned back: it needs no compensation."""
    GAVE_UP = "GAVE_UP"
    """After the pivot: an operator has skipped it. It may have happened."""
    STUCK = "STUCK"
    WAITING = "WAITING"
    """For an event, or for time to pass."""
    SKIPPED = "SKIPPED"
    """Its `when` is false, or that of the block that it stands in."""
    TIMED_OUT = "TIMED_OUT"
    """No event came within a wait's time."""


@dataclass(frozen=True, slots=True)
class StepView:
    name: str
    """Its key: the name of the step, or of an iteration `reserve[margherita]`."""
    status: StepStatus
    action: Outcome | None
    """What is known of its action; None if it was not called yet, or may be called again."""
    attempts: int
    """Of its action."""
    compensation_attempts: int
    error: str
    """The last failure, `CODE: REASON: message`; empty if there is none."""
    path: tuple[str, ...] = ()
    """The blocks and branches that it stands in, outermost first: `prepare`, `courier`."""
    event: str = ""
    """What it waits for."""
    since_ms: int | None = None
    """Since when it waits, ms since the epoch."""
    until_ms: int | None = None
    """When it ends by itself, ms since the epoch."""


@dataclass(frozen=True, slots=True)
class SagaView:
    saga_id: str
    saga: str
    version: int
    status: SagaStatus
    caller: str
    trace_id: str
    created_at_ms: int
    """Milliseconds since the epoch."""
    updated_at_ms: int
    waiting_for: str
    """What must be deployed before it can go on; empty if nothing."""
    steps: tuple[StepView, ...]
    unconsumed: tuple[str, ...] = ()
    """Names of the events that no wait has got, the oldest first."""
    starts_ms: int | None = None
    """When its first step may begin, ms since the epoch; None: at once."""

    @property
    def incomplete(self) -> tuple[str, ...]:
        """Steps that were given up."""
        return tuple(step.name for step in self.steps if step.status is StepStatus.GAVE_UP)


def view_of(history: History, saga: Saga | None, waiting_for: str = "") -> SagaView:
    """Show a saga; without its definition, only the steps that the log names."""
    accepted = history.accepted
    return SagaView(
        saga_id=accepted.saga_id,
        saga=accepted.saga,
        version=accepted.version,
        status=history.status,
        caller=accepted.caller,
        trace_id=accepted.trace.trace_id,
        created_at_ms=accepted.at_ms,
        updated_at_ms=history.updated_ms,
        waiting_for=waiting_for,
        steps=tuple(_views(history, saga) if saga else _views_of_the_log(history)),
        unconsumed=tuple(event.event for event in history.unconsumed),
        starts_ms=accepted.starts_ms,
    )


def _views_of_the_log(history: History) -> Iterator[StepView]:
    tried = (step for step, _ in history.progress)
    for name in dict.fromkeys((*history.responses, *history.settled, *tried, *history.stuck)):
        if name not in _NO_STEPS:
            yield _step_view(history, name, is_current=True)


def _views(history: History, saga: Saga) -> Iterator[StepView]:
    decision = decide(saga, history)
    going = decision if isinstance(decision, CallNow) else CallNow()
    current = {call.key for call in going.calls}
    if not going.calls and not going.pauses and saga.is_line and not history.turned_back:
        first = next((step.name for step in saga.calls if not history.is_over(step.name)), "")
        current.add(first)
    waiting = {pause.key: pause for pause in going.pauses}
    for path, element, key in _places(saga.steps, history, ()):
        if pause := waiting.get(key):
            event = element.event if isinstance(element, Wait) else ""
            since_ms = history.since.get(key)
            yield StepView(key, StepStatus.WAITING, None, 0, 0, "", path, event, since_ms, pause.until_ms)
        else:
            view = _step_view(history, key, is_current=key in current)
            yield replace(view, path=path, status=_within(history, path, view.status))


def _within(history: History, path: tuple[str, ...], status: StepStatus) -> StepStatus:
    """What stands in a block that is skipped is skipped with it."""
    is_skipped = any(isinstance(history.settled.get(name), Skipped) for name in path)
    return StepStatus.SKIPPED if is_skipped else status


def _places(
    elements: Sequence[Element], history: History, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Element, str]]:
    """Each step and iteration: where it stands, what it is, and its key."""
    for element in elements:
        match element:
            case Parallel():
                for branch in element.branches:
                    yield from _places(branch.steps, history, (*path, element.name, branch.name))
            case Step(for_each=ForEach()) if element.name in history.iterations:
                for key in history.iterations[element.name]:
                    yield (*path, element.name), element, key
            case _:
                yield path, element, element.name


def _step_view(history: History, name: str, *, is_current: bool) -> StepView:
    action = history.of(name, Direction.ACTION)
    compensation = history.of(name, Direction.COMPENSATION)
    settled = history.settled.get(name)
    last = compensation.last or (None if name in history.responses else action.last)
    return StepView(
        name,
        _status(history, name, is_current),
        _action(history, name),
        history.attempts.get(name, action.attempts),
        settled.attempt if isinstance(settled, Compensated) else compensation.attempts,
        str(last) if last else "",
    )


def _action(history: History, name: str) -> Outcome | None:
    if name in history.responses:
        return Outcome.DONE
    if history.turned_back and (outcome := _in_turned_back(history.turned_back, name)):
        return outcome
    if isinstance(history.settled.get(name), GaveUp):
        return Outcome.DOUBT
    return Outcome.NOT_CALLED if history.turned_back or history.ended else None


def _in_turned_back(row: TurnedBack, name: str) -> Outcome | None:
    """What the row says of a step that it names."""
    if row.failure.step == name:
        return row.outcome
    return Outcome.DOUBT if name in row.doubt else None


def _status(history: History, name: str, is_current: bool) -> StepStatus:
    if name in history.stuck:
        return StepStatus.STUCK
    if settled := history.settled.get(name):
        return _settled_status(settled)
    if history.turned_back and (outcome := _in_turned_back(history.turned_back, name)):
        return _failed_status(history, name, outcome)
    if name in history.responses:
        return StepStatus.COMPENSATING if _is_compensating(history, name) else StepStatus.DONE
    if history.turned_back or history.ended:
        return StepStatus.NOT_CALLED
    return StepStatus.RUNNING if is_current else StepStatus.PENDING


def _settled_status(settled: object) -> StepStatus:
    match settled:
        case Compensated() | Resolved():
            return StepStatus.COMPENSATED
        case PassedOver():
            return StepStatus.PASSED_OVER
        case GaveUp():
            return StepStatus.GAVE_UP
        case Skipped():
            return StepStatus.SKIPPED
        case TimedOut():
            return StepStatus.TIMED_OUT
        case _:
            raise TypeError(f"{type(settled).__name__} settles no step")


def _failed_status(history: History, name: str, outcome: Outcome) -> StepStatus:
    match outcome:
        case Outcome.REFUSED:
            return StepStatus.REFUSED
        case Outcome.NOT_CALLED:
            return StepStatus.NOT_CALLED
        case _:
            return StepStatus.COMPENSATING if _is_compensating(history, name) else StepStatus.IN_DOUBT


def _is_compensating(history: History, name: str) -> bool:
    return history.of(name, Direction.COMPENSATION).attempts > 0
