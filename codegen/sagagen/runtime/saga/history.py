"""A saga's history: its rows, folded into what the decision needs to know.

Immutable, and independent of the saga's definition, so that it can be shown even where the definition is missing. The
fold is total over the rows that an engine writes, whichever of those that need not be durable a crash has lost.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from grpclib.const import Status as Code

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.refusals import BarrierRefusal
from sagagen.runtime.saga.events import (
    Accepted,
    Cancelled,
    Compensated,
    Done,
    DoneByHand,
    Ended,
    Failed,
    GaveUp,
    Held,
    LogEvent,
    NextRequest,
    OperatorRow,
    Outcome,
    PassedOver,
    RefusedByHand,
    Resolved,
    Resumed,
    Retried,
    SagaStatus,
    Stuck,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.saga.result import SagaResult
from sagagen.runtime.scope import Failure

HELD = "HELD_BY_OPERATOR"
REFUSED_BY_HAND = "REFUSED_BY_OPERATOR"

CallKey = tuple[str, Direction]
"""Which call: a step, and whether it is its action or its compensation."""


class Progress(NamedTuple):
    """What is known of one call that has no success yet."""

    attempts: int = 0
    charged: int = 0
    """Those that count against `max_attempts`: an exhausted service (RESOURCE_EXHAUSTED) costs none."""
    failures: int = 0
    """In a row, in this process: what the backoff grows with."""
    first_failure_ms: int | None = None
    """Where the budget begins; a restart does not renew it, an operator's retry does."""
    last: Failed | None = None
    is_time_up: bool = False
    is_untried: bool = False
    """No attempt since the last restart: its budget may have passed while nobody could make one."""

    @property
    def is_in_doubt(self) -> bool:
        """The last word on it leaves open whether it happened. A refusal or another run's ownership settles that."""
        return (
            self.last is not None
            and self.last.outcome is Outcome.DOUBT
            and self.last.barrier_refusal is not BarrierRefusal.OTHER_RUN
        )

    def with_failure(self, row: Failed) -> "Progress":
        return self._replace(
            attempts=max(self.attempts, row.attempt),
            charged=self.charged + (row.code is not Code.RESOURCE_EXHAUSTED),
            failures=self.failures + 1,
            first_failure_ms=row.at_ms if self.first_failure_ms is None else self.first_failure_ms,
            last=row,
            is_untried=False,
        )

    def renewed(self) -> "Progress":
        """As an operator's retry leaves it: nothing is forgotten but what stopped it."""
        return Progress(attempts=self.attempts)


NO_PROGRESS = Progress()


class History(NamedTuple):
    """Everything that is known of a saga. Made by `fold`; `with_row` adds one more fact."""

    accepted: Accepted
    updated_ms: int
    responses: Mapping[str, bytes] = MappingProxyType({})
    """Of the steps that are DONE, in the order in which they were done."""
    attempts: Mapping[str, int] = MappingProxyType({})
    """Of the steps that are DONE: how many it took."""
    next: NextRequest = NextRequest()
    """What is sent to the first step that is not DONE."""
    is_resumed: bool = False
    """A process has died since the last DONE row: the step after it may have been called."""
    progress: Mapping[CallKey, Progress] = MappingProxyType({})
    settled: Mapping[str, LogEvent] = MappingProxyType({})
    """Steps with nothing left to undo, or given up after the pivot; and the row that says so."""
    by_hand: Mapping[str, DoneByHand | RefusedByHand] = MappingProxyType({})
    """Steps whose action a person settled."""
    turned_back: TurnedBack | None = None
    is_cancelled: bool = False
    is_other_run_met: bool = False
    stuck: Stuck | None = None
    ended: Ended | None = None
    result: SagaResult | None = None

    @property
    def status(self) -> SagaStatus:
        if self.ended:
            return self.ended.status
        if self.stuck:
            return SagaStatus.STUCK
        return SagaStatus.COMPENSATING if self.turned_back else SagaStatus.RUNNING

    def of(self, step: str, direction: Direction) -> Progress:
        return self.progress.get((step, direction), NO_PROGRESS)

    def with_rows(self, rows: Iterable[LogEvent]) -> "History":
        history = self
        for row in rows:
            history = history.with_row(row)
        return history

    def with_row(self, row: LogEvent) -> "History":
        """The history with one more row. Raises TypeError for a second Accepted: a saga begins once."""
        match row:
            case Done() | Failed() | TimeUp() | Compensated() | PassedOver() | Resumed():
                return _with_event(self, row)
            case TurnedBack():
                return _changed(self, row, turned_back=row, result=self.result or row.result)
            case Ended():
                return _changed(self, row, ended=row, result=self.result or row.result)
            case Stuck():
                return _changed(self, row, stuck=row)
            case OperatorRow():
                return _with_operator(self, row)
            case _:
                raise TypeError(f"{type(row).__name__} can't follow other rows")

    @classmethod
    def begin(cls, row: Accepted) -> Self:
        return cls(row, row.at_ms, next=row.next)


def fold(rows: Iterable[LogEvent]) -> History:
    """Fold a saga's rows, the first of which is Accepted. Raises ValueError if it is not."""
    iterator = iter(rows)
    first = next(iterator, None)
    if not isinstance(first, Accepted):
        raise ValueError(f"a saga's first row is Accepted, not {type(first).__name__}")
    return History.begin(first).with_rows(iterator)


def _with_event(
    history: History, row: Done | Failed | TimeUp | Compensated | PassedOver | Resumed
) -> History:
    match row:
        case Done():
            return _with_done(history, row)
        case Failed():
            met = history.is_other_run_met or row.barrier_refusal is BarrierRefusal.OTHER_RUN
            progress = history.of(row.step, row.direction).with_failure(row)
            return _changed(history, row, progress=_with(history, row, progress), is_other_run_met=met)
        case TimeUp():
            progress = history.of(row.step, row.direction)._replace(is_time_up=True)
            return _changed(history, row, progress=_with(history, row, progress))
        case Compensated():
            return _changed(history, row, settled={**history.settled, row.step: row})
        case PassedOver():
            met = history.is_other_run_met or row.reason == BarrierRefusal.OTHER_RUN
            settled = {**history.settled, row.step: row}
            return _changed(history, row, settled=settled, is_other_run_met=met)
        case Resumed():
            return _resumed(history, row)


def _with_done(history: History, row: Done) -> History:
    return _changed(
        history,
        row,
        responses={**history.responses, row.step: row.response},
        attempts={**history.attempts, row.step: row.attempt},
        next=row.next,
        is_resumed=False,
        result=history.result or row.result,
    )


def _resumed(history: History, row: Resumed) -> History:
    # The backoff starts anew, since a restart often is what makes the next attempt succeed; the budget does not, but
    # it ends nothing before one more attempt: it may have passed while nobody could make one. Time is measured again: a
    # TimeUp that nothing followed must not stop a pivot that is in doubt only since the restart.
    calm = {
        key: progress._replace(failures=0, is_time_up=False, is_untried=True)
        for key, progress in history.progress.items()
    }
    return _changed(history, row, progress=calm, is_resumed=history.turned_back is None)


def _with_operator(history: History, row: OperatorRow) -> History:
    match row:
        case Retried():
            progress = _with(history, row, history.of(row.step, row.direction).renewed())
            is_in_doubt = history.turned_back is None
            return _changed(history, row, progress=progress, stuck=None, is_resumed=is_in_doubt)
        case Resolved():
            return _changed(history, row, settled={**history.settled, row.step: row}, stuck=None)
        case Cancelled():
            # What was stuck may have been called: the row of that call is lost where a mistake of ours stopped it.
            is_in_doubt = history.is_resumed or (history.stuck is not None and history.turned_back is None)
            return _changed(history, row, is_cancelled=True, stuck=None, is_resumed=is_in_doubt)
        case Held():
            return _changed(history, row, stuck=_held(history, row))
        case DoneByHand() | RefusedByHand() | GaveUp():
            return _settled_by_hand(history, row)
        case _:
            raise TypeError(f"{type(row).__name__} can't follow other rows")


def _held(history: History, row: Held) -> Stuck:
    last = history.of(row.step, row.direction).last
    message = "an operator held the saga" + (f"; last failure: {last}" if last else "")
    failure = Failure(Code.CANCELLED.name, HELD, message, row.step)
    return Stuck(at_ms=row.at_ms, direction=row.direction, failure=failure)


def _settled_by_hand(history: History, row: DoneByHand | RefusedByHand | GaveUp) -> History:
    match row:
        case DoneByHand():
            attempts = {**history.attempts, row.step: history.of(row.step, Direction.ACTION).attempts}
            changes: dict[str, Any] = {
                "responses": {**history.responses, row.step: row.response},
                "attempts": attempts,
                "by_hand": {**history.by_hand, row.step: row},
            }
        case GaveUp():
            changes = {"settled": {**history.settled, row.step: row}}
        case RefusedByHand():
            progress = history.of(row.step, Direction.ACTION)
            last = _refused(row, progress.attempts)
            progress = _with(history, last, progress._replace(last=last, is_time_up=False))
            by_hand = {**history.by_hand, row.step: row}
            return _changed(history, row, progress=progress, by_hand=by_hand, stuck=None)
    result = history.result or row.result
    return _changed(history, row, **changes, next=row.next, is_resumed=False, result=result, stuck=None)


def _refused(row: RefusedByHand, attempts: int) -> Failed:
    """As if the service had said so."""
    return Failed(
        at_ms=row.at_ms,
        step=row.step,
        direction=Direction.ACTION,
        attempt=attempts,
        outcome=Outcome.REFUSED,
        code=Code.FAILED_PRECONDITION,
        reason=REFUSED_BY_HAND,
        message="it was found not to have happened",
    )


def _with(history: History, row: Failed | TimeUp | Retried, progress: Progress) -> Mapping[CallKey, Progress]:
    return {**history.progress, (row.step, row.direction): progress}


def _changed(history: History, row: LogEvent, **changes: Any) -> History:
    # One copy a row: it is made for each step of each saga.
    return history._replace(updated_ms=max(history.updated_ms, row.at_ms), **changes)
