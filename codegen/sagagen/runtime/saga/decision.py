"""What a saga does next, from its definition and its history alone.

Theory of operation
-------------------

A saga is in one of three phases:

    FORWARD --TurnedBack--> BACKWARD --Ended--> over
       \\---------------------Ended------------/      (Stuck pauses either; an operator's row ends the pause)

`decide` looks at the history and returns one of five decisions; the engine carries it out, appends the row that says
what came of it, and asks again:

    CallNow    send these calls; the row is Done, Compensated, Failed or TimeUp
    PassOver   this step needs no compensation; the row is PassedOver
    TurnBack   the row is TurnedBack, and from then on the saga only undoes
    End        the row is Ended
    GetStuck   the row is Stuck

and `None` where there is nothing to do until an operator does something.

Two rules keep this sound:

1. **Only rows count.** There is no clock and no randomness in here. That time has passed is a row too (TimeUp), which
   the engine appends when it is asked to make a call whose `give_up_at_ms` lies in the past. So recovery is this same
   function on the rows that survived, and not a second code path.
2. **Doubt is never read as 'no'.** Until a service has said DONE or REFUSED, a call may have happened. A Resumed row
   puts the step after the last Done row in doubt, called or not, since rows of mere attempts are not waited for.

Forward, for the first step that is neither DONE nor given up:

    last word                              compensatable      pivot, not attempted   pivot, attempted   retriable
    -------------------------------------  -----------------  ---------------------  -----------------  ---------
    none yet                               call               call                   call               call
    request can't be built                 back: NOT_CALLED   back: NOT_CALLED       back: NOT_CALLED   stuck
    REFUSED                                back: REFUSED      -                      back: REFUSED      (never recorded)
    failed, may be repeated                call again         -                      call again         call again
    failed, may not be / attempts used up  back: DOUBT        -                      call again         call again
    deadline passed, or cancelled          back               back: NOT_CALLED       call again         call again
    budget spent                           -                  -                      stuck              stuck
    OTHER_RUN, no write of ours done       superseded         -                      superseded         stuck
    OTHER_RUN, later                       back: NOT_CALLED   -                      back: NOT_CALLED   stuck
    STEP_COMPENSATED                       back: DOUBT        -                      stuck              stuck
    PAYLOAD_MISMATCH, FORGOTTEN            stuck              -                      stuck              stuck
    the same, then cancelled               back: DOUBT        -                      -                  -

A budget that has passed while no process ran ends nothing before one more attempt: a Resumed row grants it.
Whatever is stuck, an operator ends: `commands` says how.

Backward, the step in doubt first and then the DONE steps, last one first: a step without compensation is passed over; a
compensation is repeated until it is done, or its budget is spent (stuck). Any refusal of the barrier makes the saga
stuck, except that OTHER_RUN proves that a step in doubt never happened. What lies further back waits: compensations are
strictly LIFO.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from grpclib.const import Status as Code

from sagagen.runtime.model.definition import Action, Direction, Saga, Step, StepKind
from sagagen.runtime.rpc.errors import is_reason
from sagagen.runtime.rpc.refusals import BarrierRefusal
from sagagen.runtime.saga.events import Failed, Outcome, SagaStatus
from sagagen.runtime.saga.history import History, Progress
from sagagen.runtime.scope import Failure

DEFAULT_BUDGET_S = 24 * 3600.0
"""For compensations, retriable steps and attempted pivots of which the contract names none: nothing is repeated for
ever unseen."""

OURS_RETRIED = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED})
"""Refusals of the runtime itself that pass (expired, draining, overloaded), whatever codes the contract names."""

DEADLINE_PASSED = "SAGA_DEADLINE_EXCEEDED"
NOT_BUILT = "REQUEST_NOT_BUILT"
CANCELLED = "CANCELLED_BY_OPERATOR"
ENGINE_ERROR = "ENGINE_ERROR"
"""Not a decision of this function: the engine failed to carry one out."""


class StepCall(NamedTuple):
    """One call that may run now."""

    step: Step
    direction: Direction
    attempt: int
    """Starts at 1."""
    request: bytes | None
    """As logged; None for a compensation, whose request is built when it is sent."""
    failures: int
    """In a row before this attempt: what its backoff grows with."""
    retry_after_s: float | None
    """What the service asked for when it failed last."""
    give_up_at_ms: int | None
    """From then on the engine appends TimeUp instead of calling."""
    is_cut_short: bool
    """Its timeout ends at `give_up_at_ms` at the latest."""
    action: Action
    """The step's, or its compensation."""


@dataclass(frozen=True, slots=True)
class CallNow:
    """The calls that may run now: one, as long as steps are sequential."""

    calls: tuple[StepCall, ...]


@dataclass(frozen=True, slots=True)
class PassOver:
    step: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TurnBack:
    failure: Failure
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class End:
    status: SagaStatus


@dataclass(frozen=True, slots=True)
class GetStuck:
    direction: Direction
    failure: Failure


Decision = CallNow | PassOver | TurnBack | End | GetStuck


def decide(saga: Saga, history: History) -> Decision | None:
    """Say what the saga does next. Pure: the same rows give the same decision, before and after any crash."""
    if history.ended or history.stuck:
        return None
    if history.turned_back:
        return _backward(saga, history)
    step = first_unsettled(saga, history)
    return End(SagaStatus.COMPLETED) if step is None else _forward(saga, history, step)


def first_unsettled(saga: Saga, history: History) -> Step | None:
    """The step that is neither done nor given up, and comes first."""
    # Asked for each row: a generator takes ten times as long.
    responses, settled = history.responses, history.settled
    for step in saga.calls:
        if step.name not in responses and step.name not in settled:
            return step
    return None


def _forward(saga: Saga, history: History, step: Step) -> Decision:
    progress = history.of(step.name, Direction.ACTION)
    if progress.last and progress.last.barrier_refusal:
        return _forward_refused(saga, history, step, progress.last, progress.last.barrier_refusal)
    if history.next.problem:
        return _not_built(step, history.next.problem)
    if step.kind is StepKind.RETRIABLE:
        return _until_budget(step, Direction.ACTION, progress, history.next.body)
    if progress.last and progress.last.outcome is Outcome.REFUSED:
        return TurnBack(failure_of(progress.last), Outcome.REFUSED)
    if step.kind is StepKind.PIVOT and is_attempted(history, progress):
        return _until_known(step, progress, history.next.body)
    return _until_deadline(saga, history, step, progress)


def _until_deadline(saga: Saga, history: History, step: Step, progress: Progress) -> Decision:
    """Before the point of no return: any of several reasons turns the saga back."""
    failure = _reason_to_turn_back(history, step, progress)
    if failure:
        outcome = Outcome.DOUBT if is_attempted(history, progress) else Outcome.NOT_CALLED
        return TurnBack(failure, outcome)
    deadline_ms = history.accepted.at_ms + round(saga.deadline_s * 1000)
    is_cut_short = step.kind is not StepKind.PIVOT
    return _call(step, Direction.ACTION, progress, history.next.body, deadline_ms, is_cut_short)


def _reason_to_turn_back(history: History, step: Step, progress: Progress) -> Failure | None:
    last = progress.last
    if history.is_cancelled:
        return _cancelled(step)
    if last and not _may_repeat(step.action, last):
        return failure_of(last)
    if last and step.action.retry.max_attempts and progress.charged >= step.action.retry.max_attempts:
        return failure_of(last)
    if progress.is_time_up:
        message = "the saga's deadline has passed" + (f"; last failure: {last}" if last else "")
        return Failure(Code.DEADLINE_EXCEEDED.name, DEADLINE_PASSED, message, step.name)
    return None


def _until_known(step: Step, progress: Progress, request: bytes | None) -> Decision:
    """A pivot that was attempted: neither deadline nor attempts end it, only the service's word, or its budget."""
    if progress.is_time_up:
        return _stuck(step, Direction.ACTION, progress)
    give_up_at_ms = _budget_end_ms(progress, step.action)
    return _call(step, Direction.ACTION, progress, request, give_up_at_ms, is_cut_short=False)


def _until_budget(step: Step, direction: Direction, progress: Progress, request: bytes | None) -> Decision:
    """A retriable step or a compensation: repeated whatever the failure, until its budget is spent."""
    if progress.is_time_up:
        return _stuck(step, direction, progress)
    give_up_at_ms = _budget_end_ms(progress, _action(step, direction))
    return _call(step, direction, progress, request, give_up_at_ms, is_cut_short=False)


def _forward_refused(
    saga: Saga, history: History, step: Step, last: Failed, refusal: BarrierRefusal
) -> Decision:
    failure = failure_of(last)
    if step.kind is not StepKind.RETRIABLE and refusal is BarrierRefusal.OTHER_RUN:
        # Rows of another run at that service prove that no earlier attempt of ours came through either.
        return (
            TurnBack(failure, Outcome.NOT_CALLED)
            if _has_written(saga, history)
            else End(SagaStatus.SUPERSEDED)
        )
    if step.kind is StepKind.COMPENSATABLE:
        if history.is_cancelled:
            return TurnBack(_cancelled(step), Outcome.DOUBT)
        if refusal is BarrierRefusal.STEP_COMPENSATED:
            return TurnBack(failure, Outcome.DOUBT)
    return GetStuck(Direction.ACTION, failure)


def _cancelled(step: Step) -> Failure:
    return Failure(Code.CANCELLED.name, CANCELLED, "an operator cancelled the saga", step.name)


def _not_built(step: Step, problem: str) -> Decision:
    failure = Failure(Code.OUT_OF_RANGE.name, NOT_BUILT, problem, step.name)
    if step.kind is StepKind.RETRIABLE:
        return GetStuck(Direction.ACTION, failure)
    return TurnBack(failure, Outcome.NOT_CALLED)


def _backward(saga: Saga, history: History) -> Decision:
    for step in _to_undo(saga, history):
        if step.name not in history.settled:
            return _undo(history, step)
    is_superseded = history.is_other_run_met and not _has_written(saga, history)
    return End(SagaStatus.SUPERSEDED if is_superseded else SagaStatus.COMPENSATED)


def _to_undo(saga: Saga, history: History) -> Iterator[Step]:
    turned_back = history.turned_back
    steps = {step.name: step for step in saga.calls}
    if turned_back and turned_back.outcome is Outcome.DOUBT and turned_back.failure.step in steps:
        yield steps[turned_back.failure.step]
    for name in reversed(tuple(history.responses)):
        yield steps[name]


def _undo(history: History, step: Step) -> Decision:
    if step.compensation is None:
        reason = "READ" if step.action.method.is_read else "NO_COMPENSATION"
        return PassOver(
            step.name, reason, "a read changes nothing" if reason == "READ" else "compensate: none"
        )
    progress = history.of(step.name, Direction.COMPENSATION)
    refusal = progress.last.barrier_refusal if progress.last else None
    if refusal is BarrierRefusal.OTHER_RUN and step.name not in history.responses:
        return PassOver(step.name, refusal.value, "another run owns the saga there: the step never happened")
    if refusal:
        return _stuck(step, Direction.COMPENSATION, progress)
    return _until_budget(step, Direction.COMPENSATION, progress, None)


def failure_of(last: Failed) -> Failure:
    """The failure that expressions and problem documents read; its reason is a token and never empty."""
    reason = last.reason if is_reason(last.reason) else last.code.name
    return Failure(last.code.name, reason, last.message, last.step)


def _stuck(step: Step, direction: Direction, progress: Progress) -> GetStuck:
    if progress.last:
        return GetStuck(direction, failure_of(progress.last))
    return GetStuck(
        direction, Failure(Code.UNKNOWN.name, "GAVE_UP", "no answer within its budget", step.name)
    )


def _call(
    step: Step,
    direction: Direction,
    progress: Progress,
    request: bytes | None,
    give_up_at_ms: int | None,
    is_cut_short: bool,
) -> CallNow:
    retry_after_s = progress.last.retry_after_s if progress.last else None
    call = StepCall(
        step,
        direction,
        progress.attempts + 1,
        request,
        progress.failures,
        retry_after_s,
        give_up_at_ms,
        is_cut_short,
        _action(step, direction),
    )
    return CallNow((call,))


def _action(step: Step, direction: Direction) -> Action:
    action = step.action if direction is Direction.ACTION else step.compensation
    assert action is not None, "only steps that have a compensation are compensated"
    return action


def _may_repeat(action: Action, last: Failed) -> bool:
    return last.code in (OURS_RETRIED if last.is_ours else action.retry.codes)


def is_attempted(history: History, progress: Progress) -> bool:
    """The step after the last DONE row may have been called, and nothing has settled yet whether it happened."""
    return history.is_resumed or progress.is_in_doubt


def _has_written(saga: Saga, history: History) -> bool:
    return any(step.name in history.responses and not step.action.method.is_read for step in saga.calls)


def _budget_end_ms(progress: Progress, action: Action) -> int | None:
    if progress.first_failure_ms is None or progress.is_untried:
        return None
    return progress.first_failure_ms + round((action.retry.give_up_after_s or DEFAULT_BUDGET_S) * 1000)
