"""What each row has to end as, worked out from the contract's tree alone.

This is a second opinion: nothing here asks the engine, or `decide`. What it says comes from the rules of the language
(docs/saga-yaml.md): before the pivot a failure undoes what is done, in mirrored order; at the pivot what may have
happened is found out; after it everything is repeated until it works, and what can't be done waits for an operator.
"""

from dataclasses import dataclass, field

from sagagen.runtime.model.definition import WAIT_TIMED_OUT, Delay, Saga, Step, StepKind, Wait
from sagagen.runtime.saga.events import SagaStatus
from sagagen.testing.matrix.rows import UNDO_WAYS, Row, Way
from sagagen.testing.places import Place, Reached, is_undone, place_of, turning_place, undone_keys

NOTHING: frozenset[str] = frozenset()

CANCELLED_BY_OPERATOR = "CANCELLED_BY_OPERATOR"
DEADLINE = "SAGA_DEADLINE_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Expected:
    """What has to be true of a saga when it is over."""

    status: SagaStatus
    undone: frozenset[str] = NOTHING
    """Step keys that are compensated."""
    may_be_undone: frozenset[str] = NOTHING
    """Those of other branches and items, which may have begun or not."""
    reason: str = ""
    """The failure's; empty: any."""
    incomplete: frozenset[str] = NOTHING
    """Steps that are given up."""
    stops_first: bool = False
    """It is STUCK before, until an operator has the call tried again."""
    is_like_straight: bool = field(default=False)
    """The tables hold what they hold where nothing fails."""


def expected(saga: Saga, row: Row, reached: Reached) -> Expected:
    """Raises StopIteration for an element that the saga lacks."""
    if row.way is Way.STRAIGHT:
        return _COMPLETED
    if row.way is Way.TURNED_BACK or row.way in UNDO_WAYS:
        return _undoing(saga, row, reached)
    place = place_of(saga, row.element)
    match place.element:
        case Step():
            return _of_call(saga, place.element, place, row, reached)
        case Wait():
            return _of_wait(saga, place.element, place, row, reached)
        case Delay():
            return _of_delay(saga, place.element, place, row, reached)


_COMPLETED = Expected(SagaStatus.COMPLETED, is_like_straight=True)


def _undoing(saga: Saga, row: Row, reached: Reached) -> Expected:
    turning = turning_place(saga, reached)
    assert turning, "there is no such row where nothing turns the saga back"
    back = _back(turning, reached, in_doubt=NOTHING, reason=_reason_of_turning(turning))
    if row.way is not Way.UNDO_KEEPS_FAILING:
        return back
    return Expected(back.status, back.undone, back.may_be_undone, reason=back.reason, stops_first=True)


def _reason_of_turning(turning: Place) -> str:
    """Of a call: any refusal; of a wait: that no event came."""
    if isinstance(turning.element, Wait) and turning.element.within_s is not None:
        return turning.element.on_timeout or ""
    return ""


def _back(
    place: Place,
    reached: Reached,
    *,
    in_doubt: frozenset[str],
    reason: str = "",
    beside: frozenset[str] = NOTHING,
) -> Expected:
    """The saga turns back at this element."""
    undone = undone_keys(place.before, reached) | in_doubt
    return Expected(
        SagaStatus.COMPENSATED, undone, (undone_keys(place.beside, reached) | beside) - undone, reason=reason
    )


def _of_call(saga: Saga, step: Step, place: Place, row: Row, reached: Reached) -> Expected:
    if step.kind is StepKind.COMPENSATABLE:
        return _of_compensatable(saga, step, place, row, reached)
    match row.way:
        case Way.DECLINED if step.kind is StepKind.PIVOT:
            return _back(place, reached, in_doubt=NOTHING, reason=row.reason)
        case Way.DECLINED | Way.KEEPS_FAILING | Way.ANSWERS_LOST if step.gives_up:
            return Expected(SagaStatus.COMPLETED, incomplete=frozenset({row.key}))
        case Way.DECLINED | Way.KEEPS_FAILING | Way.ANSWERS_LOST:
            return Expected(SagaStatus.STUCK)
        case _:
            # A cancellation comes too late: from the pivot's call on the saga only goes forward.
            return _COMPLETED


def _of_compensatable(saga: Saga, step: Step, place: Place, row: Row, reached: Reached) -> Expected:
    own = frozenset({row.key}) if is_undone(step) else NOTHING
    others = undone_keys((step,), reached) - {row.key}
    match row.way:
        case Way.DECLINED:
            return _back(place, reached, in_doubt=NOTHING, reason=row.reason, beside=others)
        case Way.CANCELLED | Way.LATE:
            return _back(place, reached, in_doubt=own, reason=cancel_reason(saga), beside=others)
        case Way.KEEPS_FAILING | Way.ANSWERS_LOST:
            return _back(place, reached, in_doubt=own, beside=others)
        case (
            Way.FAILS_ONCE
            | Way.ANSWER_LOST
            | Way.TIMES_OUT
            | Way.SERVICE_CRASH_BEFORE
            | Way.SERVICE_CRASH_AFTER
        ) if step.action.retry.max_attempts == 1:
            return _back(place, reached, in_doubt=own, beside=others)
        case _:
            return _COMPLETED


def _of_wait(saga: Saga, wait: Wait, place: Place, row: Row, reached: Reached) -> Expected:
    match row.way:
        case Way.EVENT_DECLINES:
            reason = wait.decline.reason if wait.decline else ""
            return _back(place, reached, in_doubt=NOTHING, reason=reason)
        case Way.CANCELLED if wait.kind is not StepKind.RETRIABLE:
            return _back(place, reached, in_doubt=NOTHING, reason=cancel_reason(saga))
        case Way.NEVER | Way.EVENT_LATE if is_without_end(saga, wait):
            return _back(place, reached, in_doubt=NOTHING, reason=DEADLINE)
        case Way.NEVER | Way.EVENT_LATE if wait.on_timeout is not None:
            return _back(place, reached, in_doubt=NOTHING, reason=wait.on_timeout)
        case Way.NEVER | Way.EVENT_LATE:
            return Expected(SagaStatus.COMPLETED)
        case _:
            return _COMPLETED


def is_without_end(saga: Saga, wait: Wait) -> bool:
    """Whether the saga's deadline ends the wait before its own time is up."""
    if wait.kind is StepKind.RETRIABLE:
        return False
    return wait.within_s is None or wait.within_s >= saga.deadline_s


def _of_delay(saga: Saga, delay: Delay, place: Place, row: Row, reached: Reached) -> Expected:
    if row.way is Way.CANCELLED and delay.kind is not StepKind.RETRIABLE:
        return _back(place, reached, in_doubt=NOTHING, reason=cancel_reason(saga))
    return _COMPLETED


def cancel_reason(saga: Saga) -> str:
    """What the failure's reason is where a client cancels; without `cancel` in the contract an operator does."""
    return saga.cancel.reason if saga.cancel else CANCELLED_BY_OPERATOR


__all__ = ["WAIT_TIMED_OUT", "Expected", "cancel_reason", "expected", "is_without_end"]
