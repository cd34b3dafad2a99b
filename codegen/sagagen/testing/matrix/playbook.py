"""How each way to go wrong is brought about: faults of calls, and what a client, an operator or a process does when."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from grpclib.const import Status as Code

from sagagen.runtime.model.definition import (
    Action,
    Direction,
    Saga,
    Step,
    StepKind,
    Transaction,
    Wait,
    leaves,
)
from sagagen.runtime.rpc.errors import Declined, RpcError
from sagagen.testing.faults import Crash, Delay, DelayAnswer, Duplicate, Fail, Fault, LoseAnswer, Moment
from sagagen.testing.matrix.rows import ANY_REASON, UNDO_WAYS, Row, Way
from sagagen.testing.places import Place, Reached, place_of, turning_place

LATE_S = 3600.0
"""When a call that is delivered late arrives for the second time."""
UNDO_FAILURES = 3
"""How often a compensation fails before it works."""
_MESSAGE = "the matrix has it go wrong here"


class Deed(Enum):
    """What somebody does besides the usual: sending each event once, when the saga waits for it."""

    CANCEL_UNDER_WAY = auto()
    """The saga is cancelled when the row's call was sent, or when the saga waits."""
    EVENT_BEFORE = auto()
    """The event is sent as soon as the saga is accepted."""
    EVENT_TWICE = auto()
    """Under the same key once more, and under another key."""
    EVENT_DECLINES = auto()
    EVENT_NEVER = auto()
    EVENT_AFTER = auto()
    """When the saga is over."""
    CRASH_WAITING = auto()
    CRASH_AT_EVENT = auto()
    RETRY_WHEN_STUCK = auto()
    """The fault is gone, and an operator has the call tried again."""


@dataclass(frozen=True, slots=True)
class Script:
    """What happens in a row."""

    faults: tuple[Fault, ...] = ()
    deeds: frozenset[Deed] = frozenset()
    wait: str = ""
    """The wait that the deeds are about; of another one the event is sent as usual."""
    at: str = ""
    """Step key of the call, or name of the element, that they are about."""


def script(saga: Saga, row: Row, reached: Reached) -> Script:
    """What happens in a row of a saga."""
    if row.way is Way.STRAIGHT:
        return Script()
    if row.way is Way.TURNED_BACK or row.way in UNDO_WAYS:
        return _turned(saga, row, reached)
    element = place_of(saga, row.element).element
    if isinstance(element, Step):
        return Script(tuple(_of_call(element, row)), _call_deeds(row, element), at=row.key)
    return Script(deeds=frozenset(_PAUSE_DEEDS[row.way]), wait=row.element, at=row.element)


_PAUSE_DEEDS: dict[Way, tuple[Deed, ...]] = {
    Way.CANCELLED: (Deed.CANCEL_UNDER_WAY, Deed.EVENT_NEVER),
    Way.EVENT_EARLY: (Deed.EVENT_BEFORE,),
    Way.EVENT_TWICE: (Deed.EVENT_TWICE,),
    Way.EVENT_DECLINES: (Deed.EVENT_DECLINES,),
    Way.NEVER: (Deed.EVENT_NEVER,),
    Way.EVENT_LATE: (Deed.EVENT_NEVER, Deed.EVENT_AFTER),
    Way.CRASH_WAITING: (Deed.CRASH_WAITING,),
    Way.CRASH_AT_EVENT: (Deed.CRASH_AT_EVENT,),
}

_CRASHES = {
    Way.CRASH_BEFORE: Moment.SENT,
    Way.CRASH_BETWEEN: Moment.ANSWERED,
    Way.CRASH_AFTER: Moment.RECORDED,
    Way.SERVICE_CRASH_BEFORE: Moment.HANDLED,
    Way.SERVICE_CRASH_AFTER: Moment.COMMITTED,
    Way.UNDO_CRASH_BEFORE: Moment.SENT,
    Way.UNDO_CRASH_BETWEEN: Moment.ANSWERED,
}


def _call_deeds(row: Row, step: Step) -> frozenset[Deed]:
    is_cancelled = row.way is Way.CANCELLED or (row.way is Way.LATE and step.kind is StepKind.COMPENSATABLE)
    return frozenset({Deed.CANCEL_UNDER_WAY}) if is_cancelled else frozenset()


def _of_call(step: Step, row: Row) -> Iterator[Fault]:
    key, action = row.key, step.action
    match row.way:
        case Way.DECLINED:
            yield declined(step, key, row.reason)
        case Way.FAILS_ONCE:
            yield Fail(step=key, attempt=1, error=unavailable(action))
        case Way.KEEPS_FAILING:
            yield Fail(step=key, error=unavailable(action))
        case Way.ANSWER_LOST:
            yield LoseAnswer(step=key, attempt=1)
        case Way.ANSWERS_LOST:
            yield LoseAnswer(step=key)
        case Way.TIMES_OUT:
            yield Delay(step=key, attempt=1, seconds=action.timeout_s * 1.1)
        case Way.TWICE:
            yield Duplicate(step=key, times=1)
        case Way.LATE if step.kind is StepKind.COMPENSATABLE:
            yield Delay(step=key, attempt=1, seconds=action.timeout_s * 0.9)
        case Way.LATE:
            yield Duplicate(step=key, times=1, late_s=LATE_S)
        case Way.CANCELLED:
            yield DelayAnswer(step=key, attempt=1, seconds=action.timeout_s * 0.5)
        case _:
            yield Crash(step=key, moment=_CRASHES[row.way], times=1)


def declined(step: Step, key: str, reason: str = "") -> Fail:
    """The handler refuses once it has run, so that what it wrote has to be undone.

    One that runs outside a transaction does not run: what it does at a third party nothing undoes.
    """
    is_late = step.action.method.transaction is Transaction.LOCAL and not step.action.method.is_read
    return Fail(step=key, error=Declined(reason or ANY_REASON, _MESSAGE), is_late=is_late)


def unavailable(action: Action) -> RpcError:
    """A failure that is worth another attempt."""
    codes = action.retry.codes
    code = (
        Code.UNAVAILABLE
        if Code.UNAVAILABLE in codes or not codes
        else min(codes, key=lambda each: each.value)
    )
    return RpcError(code, _MESSAGE)


def _turned(saga: Saga, row: Row, reached: Reached) -> Script:
    turning = turning_place(saga, reached)
    assert turning, "there is no such row where nothing turns the saga back"
    faults = [*_turning_faults(turning, reached), *(_of_undoing(saga, row) if row.element else ())]
    deeds = {Deed.EVENT_NEVER} if isinstance(turning.element, Wait) else set[Deed]()
    if row.way is Way.UNDO_KEEPS_FAILING:
        deeds.add(Deed.RETRY_WHEN_STUCK)
    return Script(tuple(faults), frozenset(deeds), wait=turning.element.name, at=row.key)


def _turning_faults(turning: Place, reached: Reached) -> Iterator[Fault]:
    if isinstance(turning.element, Step):
        yield declined(turning.element, reached[turning.element.name][-1])


def _of_undoing(saga: Saga, row: Row) -> Iterator[Fault]:
    step = next(each for each in leaves(saga.steps) if each.name == row.element)
    assert isinstance(step, Step), "only a call is undone"
    assert step.compensation, "only a step that is undone has such rows"
    key, back = row.key, Direction.COMPENSATION
    failure = unavailable(step.compensation)
    match row.way:
        case Way.UNDO_FAILS:
            yield Fail(step=key, direction=back, times=UNDO_FAILURES, error=failure)
        case Way.UNDO_KEEPS_FAILING:
            yield Fail(step=key, direction=back, error=failure)
        case Way.UNDO_ANSWER_LOST:
            yield LoseAnswer(step=key, direction=back, times=1)
        case Way.UNDO_TWICE:
            yield Duplicate(step=key, direction=back, times=1)
        case _:
            yield Crash(step=key, direction=back, moment=_CRASHES[row.way], times=1)
