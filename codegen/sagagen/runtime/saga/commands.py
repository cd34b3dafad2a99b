"""What an operator may do to a saga, and the row that says it was done.

`row_for` is pure, and the same for a saga that runs, one that is stuck, and one in a log at rest. Each command is
checked between two calls of the saga, never during one: so a pivot whose call is on its way counts as attempted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sagagen.runtime.model.definition import Direction, Saga, StepKind
from sagagen.runtime.saga.decision import NOT_BUILT, CallNow, StepCall, decide, is_attempted
from sagagen.runtime.saga.events import Cancelled, OperatorRow, Resolved, Retried
from sagagen.runtime.saga.history import History


class Act(StrEnum):
    RETRY = "retry"
    """Try a failing call again now, with a new budget."""
    RESOLVE = "resolve"
    """One compensation was done by hand: go on with those before it."""
    CANCEL = "cancel"
    """Turn back and compensate; never once the pivot was attempted."""


@dataclass(frozen=True, slots=True)
class OperatorCommand:
    """What an operator wants, and who they are."""

    act: Act
    by: str
    note: str = ""


class CommandRejected(Exception):
    """The saga does not allow this now; the message says why, and what it does allow. Nothing was changed."""


class UnknownSaga(Exception):
    """No saga has this id."""

    def __init__(self, saga_id: str) -> None:
        super().__init__(f"there is no saga {saga_id} in this log")
        self.saga_id = saga_id


class AmbiguousSaga(Exception):
    """Several sagas have ids that begin like this; `candidates` are the first of them."""

    def __init__(self, beginning: str, candidates: Sequence[str]) -> None:
        super().__init__(f'several sagas begin with "{beginning}": {", ".join(candidates)}')
        self.candidates = tuple(candidates)


def row_for(command: OperatorCommand, saga: Saga | None, history: History, now_ms: int) -> OperatorRow:
    """The row that carries the command out. `saga` is None where its definition is missing. Raises CommandRejected."""
    if history.ended:
        raise CommandRejected(f"the saga is over ({history.status}): nothing is left to {command.act}")
    match command.act:
        case Act.RETRY:
            step, direction = _failing(saga, history)
            return Retried(at_ms=now_ms, by=command.by, note=command.note, step=step, direction=direction)
        case Act.RESOLVE:
            step = _resolvable(command, saga, history)
            return Resolved(at_ms=now_ms, by=command.by, note=command.note, step=step)
        case Act.CANCEL:
            _check_cancel(saga, history)
            return Cancelled(at_ms=now_ms, by=command.by, note=command.note)


def current_call(saga: Saga | None, history: History) -> StepCall | None:
    """The call that the saga makes now, or will make after its wait."""
    decision = decide(saga, history) if saga else None
    return decision.calls[0] if isinstance(decision, CallNow) else None


def _failing(saga: Saga | None, history: History) -> tuple[str, Direction]:
    if history.stuck:
        if history.stuck.failure.reason == NOT_BUILT:
            raise CommandRejected("its request can't be built from what is logged: no retry changes that")
        return history.stuck.failure.step, history.stuck.direction
    call = current_call(saga, history)
    if call is None or call.failures == 0:
        raise CommandRejected(
            f"the saga is {history.status} and no call of it is failing: there is nothing to retry"
        )
    return call.step.name, call.direction


def _resolvable(command: OperatorCommand, saga: Saga | None, history: History) -> str:
    if not command.note.strip():
        raise CommandRejected("resolve needs a note that says what was done by hand")
    if not history.turned_back:
        raise CommandRejected("no compensation is stuck: only a compensation can be resolved by hand")
    step, direction = _failing(saga, history)
    if direction is not Direction.COMPENSATION or not step:
        raise CommandRejected("the saga is stuck without a compensation to blame: retry it")
    return step


def _check_cancel(saga: Saga | None, history: History) -> None:
    if history.turned_back:
        raise CommandRejected("the saga already turns back; `retry` or `resolve` what fails")
    if saga is None:
        raise CommandRejected("this code lacks the saga's definition, so it does not know what to undo")
    step = next((step for step in saga.steps if step.name not in history.responses), None)
    if step is None:
        raise CommandRejected("all steps of the saga are done")
    is_called = is_attempted(history, history.of(step.name, Direction.ACTION)) or history.stuck is not None
    if step.kind is StepKind.RETRIABLE or (step.kind is StepKind.PIVOT and is_called):
        raise CommandRejected(
            f"its pivot is done, or may be: from step {step.name} on the saga only goes forward; `retry` what fails"
        )
