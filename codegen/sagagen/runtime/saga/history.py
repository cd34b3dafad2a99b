"""A saga's history: its rows, folded into what the decision needs to know.

Immutable, and independent of the saga's definition, so that it can be shown even where the definition is missing. The
fold is total over the rows that an engine writes, whichever of those that need not be durable a crash has lost.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from grpclib.const import Status as Code

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.refusals import BarrierRefusal
from sagagen.runtime.saga.events import (
    START,
    Accepted,
    Cancelled,
    Compensated,
    Done,
    DoneByHand,
    Ended,
    EventTaken,
    Failed,
    GaveUp,
    Held,
    LogEvent,
    LoopPlanned,
    NextRequest,
    OperatorRow,
    Outcome,
    PassedOver,
    Planned,
    RefusedByHand,
    Resolved,
    Resumed,
    Retried,
    SagaStatus,
    Skipped,
    Stuck,
    TimedOut,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.saga.result import SagaResult
from sagagen.runtime.scope import Failure, item_key

HELD = "HELD_BY_OPERATOR"
REFUSED_BY_HAND = "REFUSED_BY_OPERATOR"

CallKey = tuple[str, Direction]
"""Which call: the key of a step, and whether it is its action or its compensation."""

_NONE_STUCK: Mapping[str, Stuck] = MappingProxyType({})
NOBODY_KNOWS = ""
"""Stands for the key of a step where none is said: the next one of a straight line, or no step at all."""


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
    """Everything that is known of a saga. Made by `fold`; `with_row` adds one more fact.

    Steps go by their keys: a step's name, and for an iteration of a loop the item's key, `reserve[margherita]`.
    """

    accepted: Accepted
    updated_ms: int
    planned: Mapping[str, NextRequest]
    """What was ready, and is sent or waited for; in a straight line the next request alone, with no key."""
    since: Mapping[str, int] = MappingProxyType({})
    """When what has a row of its own for it was planned, ms since the epoch."""
    responses: Mapping[str, bytes] = MappingProxyType({})
    """Of the steps that are DONE, in the order in which they were done."""
    attempts: Mapping[str, int] = MappingProxyType({})
    """Of the steps that are DONE: how many it took."""
    loops: Mapping[str, LoopPlanned] = MappingProxyType({})
    iterations: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """The step keys of each loop's items, in the order of its list. Made once: each decision looks through them."""
    resumed: frozenset[str] = frozenset()
    """A process has died since these were planned: they may have been called."""
    progress: Mapping[CallKey, Progress] = MappingProxyType({})
    settled: Mapping[str, LogEvent] = MappingProxyType({})
    """Steps that are over without being DONE, or with nothing left to undo; and the row that says so."""
    by_hand: Mapping[str, DoneByHand | RefusedByHand] = MappingProxyType({})
    """Steps whose action a person settled."""
    events: tuple[EventTaken, ...] = ()
    used: Mapping[int, str] = MappingProxyType({})
    """Numbers of the events that a wait got, and which wait."""
    turned_back: TurnedBack | None = None
    cancelled: Cancelled | None = None
    is_other_run_met: bool = False
    stuck: Mapping[str, Stuck] = _NONE_STUCK
    """Steps that wait for an operator. What depends on one of them waits too, and nothing else."""
    ended: Ended | None = None
    result: SagaResult | None = None
    was_stuck: frozenset[str] = frozenset()
    """Steps that are or were stuck: in a loop another item has their place for good, whatever an operator does."""

    @property
    def status(self) -> SagaStatus:
        if self.ended:
            return self.ended.status
        if self.stuck:
            return SagaStatus.STUCK
        return SagaStatus.COMPENSATING if self.turned_back else SagaStatus.RUNNING

    @property
    def unconsumed(self) -> Iterator[EventTaken]:
        """Events that no wait has got."""
        return (event for number, event in enumerate(self.events) if number not in self.used)

    def of(self, step: str, direction: Direction) -> Progress:
        return self.progress.get((step, direction), NO_PROGRESS)

    def plan(self, step: str) -> NextRequest | None:
        """What was planned for a step that is not settled; None if nothing was."""
        # What a block, or a wait without an end, has planned is empty: it counts all the same.
        planned = self.planned.get(step)
        return self.planned.get(NOBODY_KNOWS) if planned is None else planned

    def is_over(self, step: str) -> bool:
        """It is DONE, skipped, timed out or given up."""
        return step in self.responses or step in self.settled

    def was_resumed(self, step: str) -> bool:
        return bool(self.resumed) and (step in self.resumed or NOBODY_KNOWS in self.resumed)

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
                return _turned_back(self, row)
            case Ended():
                return _changed(self, row, ended=row, result=self.result or row.result)
            case Stuck():
                return _stuck_at(self, row, row.failure.step, row)
            case OperatorRow():
                return _with_operator(self, row)
            case _:
                return _with_structure(self, row)

    @classmethod
    def begin(cls, row: Accepted) -> Self:
        # Nothing rides on a row where several elements become ready, or one that makes no call.
        planned = {row.next.step: row.next} if row.next else dict[str, NextRequest]()
        if row.starts_ms is not None:
            planned[START] = NextRequest(step=START, until_ms=row.starts_ms)
        return cls(row, row.at_ms, planned)


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
            return _with_failed(history, row)
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


def _with_failed(history: History, row: Failed) -> History:
    met = history.is_other_run_met or row.barrier_refusal is BarrierRefusal.OTHER_RUN
    progress = _with(history, row, history.of(row.step, row.direction).with_failure(row))
    used = history.used if row.event is None else {**history.used, row.event: row.step}
    return _changed(history, row, progress=progress, is_other_run_met=met, used=used)


def _with_done(history: History, row: Done) -> History:
    if history.is_over(row.step):  # no settling row takes another's place
        return _changed(history, row)
    response, used = row.response, history.used
    if row.event is not None:
        response, used = history.events[row.event].payload, {**used, row.event: row.step}
    return _changed(
        history,
        row,
        planned=_planned_next(history, row.next),
        responses={**history.responses, row.step: response},
        attempts={**history.attempts, row.step: row.attempt},
        resumed=history.resumed and _settled_doubt(history, row.step),
        used=used,
        result=history.result or row.result,
    )


def _planned_next(history: History, following: NextRequest) -> Mapping[str, NextRequest]:
    if following.step:
        return {**history.planned, following.step: following}
    # Where no step is said it is a straight line's: there is never another one beside it.
    return {NOBODY_KNOWS: following} if NOBODY_KNOWS in history.planned else history.planned


def _settled_doubt(history: History, step: str) -> frozenset[str]:
    return history.resumed - {step, NOBODY_KNOWS}


def _resumed(history: History, row: Resumed) -> History:
    # The backoff starts anew, since a restart often is what makes the next attempt succeed; the budget does not, but
    # it ends nothing before one more attempt: it may have passed while nobody could make one. Time is measured again: a
    # TimeUp that nothing followed must not stop a pivot that is in doubt only since the restart.
    calm = {
        key: progress._replace(failures=0, is_time_up=False, is_untried=True)
        for key, progress in history.progress.items()
    }
    # A wait, a delay or a block sends nothing: it is never in doubt.
    sent = (step for step, plan in history.planned.items() if plan.body is not None)
    in_doubt = frozenset(step for step in sent if not history.is_over(step))
    resumed = frozenset[str]() if history.turned_back else history.resumed | in_doubt
    return _changed(history, row, progress=calm, resumed=resumed)


def _turned_back(history: History, row: TurnedBack) -> History:
    stuck = _NONE_STUCK if history.stuck else history.stuck
    return _changed(history, row, turned_back=row, stuck=stuck, result=history.result or row.result)


def _with_structure(history: History, row: LogEvent) -> History:
    match row:
        case Planned():
            key = row.next.step
            since = {**history.since, key: row.at_ms}
            return _changed(history, row, planned={**history.planned, key: row.next}, since=since)
        case LoopPlanned():
            loops = {**history.loops, row.step: row}
            keys = tuple(item_key(row.step, item) for item in row.keys)
            iterations = {**history.iterations, row.step: keys}
            result = history.result or row.result
            return _changed(history, row, loops=loops, iterations=iterations, result=result)
        case Skipped() | TimedOut():
            if history.is_over(row.step):
                return _changed(history, row)
            settled = {**history.settled, row.step: row}
            return _changed(history, row, settled=settled, result=history.result or row.result)
        case EventTaken():
            return _changed(history, row, events=(*history.events, row))
        case _:
            raise TypeError(f"{type(row).__name__} can't follow other rows")


def _with_operator(history: History, row: OperatorRow) -> History:
    match row:
        case Retried():
            progress = _with(history, row, history.of(row.step, row.direction).renewed())
            resumed = history.resumed if history.turned_back else history.resumed | {row.step}
            return _changed(history, row, progress=progress, stuck=_freed(history, row.step), resumed=resumed)
        case Resolved():
            settled = {**history.settled, row.step: row}
            return _changed(history, row, settled=settled, stuck=_freed(history, row.step))
        case Cancelled():
            # What was stuck may have been called: the row of that call is lost where a mistake of ours stopped it.
            stuck = frozenset[str]() if history.turned_back else frozenset(history.stuck)
            return _changed(history, row, cancelled=row, stuck=_NONE_STUCK, resumed=history.resumed | stuck)
        case Held():
            return _stuck_at(history, row, row.step, _held(history, row))
        case DoneByHand() | RefusedByHand() | GaveUp():
            return _settled_by_hand(history, row)
        case _:
            raise TypeError(f"{type(row).__name__} can't follow other rows")


def _stuck_at(history: History, row: LogEvent, step: str, stuck: Stuck) -> History:
    was_stuck = history.was_stuck | {step}
    return _changed(history, row, stuck={**history.stuck, step: stuck}, was_stuck=was_stuck)


def _freed(history: History, step: str) -> Mapping[str, Stuck]:
    """What is stuck still. A saga of which no step was to blame goes on whichever step an operator names."""
    if not history.stuck:
        return history.stuck
    return {key: stuck for key, stuck in history.stuck.items() if key not in (step, NOBODY_KNOWS)}


def _held(history: History, row: Held) -> Stuck:
    last = history.of(row.step, row.direction).last
    message = "an operator held the saga" + (f"; last failure: {last}" if last else "")
    failure = Failure(Code.CANCELLED.name, HELD, message, row.step)
    return Stuck(at_ms=row.at_ms, direction=row.direction, failure=failure)


def _settled_by_hand(history: History, row: DoneByHand | RefusedByHand | GaveUp) -> History:
    if not isinstance(row, RefusedByHand) and history.is_over(row.step):
        return _changed(history, row)
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
            stuck = _freed(history, row.step)
            return _changed(history, row, progress=progress, by_hand=by_hand, stuck=stuck)
    return _changed(
        history,
        row,
        **changes,
        planned=_planned_next(history, row.next),
        resumed=_settled_doubt(history, row.step),
        result=history.result or row.result,
        stuck=_freed(history, row.step),
    )


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
