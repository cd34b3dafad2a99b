"""A saga as it is shown: where it stands and what its steps did, without payloads."""

from dataclasses import dataclass
from enum import StrEnum

from sagagen.runtime.model.definition import Direction, Saga
from sagagen.runtime.saga.events import Compensated, GaveUp, Outcome, PassedOver, Resolved, SagaStatus
from sagagen.runtime.saga.history import History


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


@dataclass(frozen=True, slots=True)
class StepView:
    name: str
    status: StepStatus
    action: Outcome | None
    """What is known of its action; None if it was not called yet, or may be called again."""
    attempts: int
    """Of its action."""
    compensation_attempts: int
    error: str
    """The last failure, `CODE: REASON: message`; empty if there is none."""


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

    @property
    def incomplete(self) -> tuple[str, ...]:
        """Steps that were given up."""
        return tuple(step.name for step in self.steps if step.status is StepStatus.GAVE_UP)


def view_of(history: History, saga: Saga | None, waiting_for: str = "") -> SagaView:
    """Show a saga; without its definition, only the steps that the log names."""
    accepted = history.accepted
    names = [step.name for step in saga.calls] if saga else list(history.responses)
    current = next(
        (name for name in names if name not in history.responses and name not in history.settled), ""
    )
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
        steps=tuple(_step_view(history, name, is_current=name == current) for name in names),
    )


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
    if history.turned_back and history.turned_back.failure.step == name:
        return history.turned_back.outcome
    if isinstance(history.settled.get(name), GaveUp):
        return Outcome.DOUBT
    return Outcome.NOT_CALLED if history.turned_back or history.ended else None


def _status(history: History, name: str, is_current: bool) -> StepStatus:
    if history.stuck and history.stuck.failure.step == name:
        return StepStatus.STUCK
    if settled := history.settled.get(name):
        return _settled_status(settled)
    if history.turned_back and history.turned_back.failure.step == name:
        return _failed_status(history, name, history.turned_back.outcome)
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
