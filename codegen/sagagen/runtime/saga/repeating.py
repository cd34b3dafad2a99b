"""One call of a saga: its next attempt, and whether there is one."""

from grpclib.const import Status as Code

from sagagen.runtime.model.definition import Action, Direction, Step
from sagagen.runtime.rpc.errors import is_reason
from sagagen.runtime.saga.decision import DEFAULT_BUDGET_S, GetStuck, GiveUp, StepCall
from sagagen.runtime.saga.events import Failed, Outcome
from sagagen.runtime.saga.history import History, Progress
from sagagen.runtime.scope import Failure

OURS_RETRIED = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED})
"""Refusals of the runtime itself that pass (expired, draining, overloaded), whatever codes the contract names."""


def until_budget(
    step: Step, key: str, direction: Direction, progress: Progress, request: bytes | None
) -> StepCall | GetStuck | GiveUp:
    """A retriable step or a compensation: repeated whatever the failure, until its budget is spent."""
    gives_up = step.gives_up and direction is Direction.ACTION
    if gives_up and progress.last and progress.last.outcome is Outcome.REFUSED:
        return GiveUp(failure_of(progress.last))
    if progress.is_time_up:
        stuck = stuck_at(key, direction, progress)
        return GiveUp(stuck.failure) if gives_up else stuck
    action = _action(step, direction)
    give_up_at_ms = budget_end_ms(progress, action)
    return call_of(step, key, direction, action, progress, request, give_up_at_ms, is_cut_short=False)


def call_of(
    step: Step,
    key: str,
    direction: Direction,
    action: Action,
    progress: Progress,
    request: bytes | None,
    give_up_at_ms: int | None,
    is_cut_short: bool,
) -> StepCall:
    """The next attempt of a call."""
    last = progress.last
    return StepCall(
        step,
        key,
        direction,
        progress.attempts + 1,
        request,
        progress.failures,
        last.at_ms if last else 0,
        last.retry_after_s if last else None,
        give_up_at_ms,
        is_cut_short,
        action,
    )


def budget_end_ms(progress: Progress, action: Action) -> int | None:
    """When the budget of a call that has failed is spent; None: it has not, or has one more attempt."""
    if progress.first_failure_ms is None or progress.is_untried:
        return None
    return progress.first_failure_ms + round((action.retry.give_up_after_s or DEFAULT_BUDGET_S) * 1000)


def _action(step: Step, direction: Direction) -> Action:
    action = step.action if direction is Direction.ACTION else step.compensation
    assert action is not None, "only steps that have a compensation are compensated"
    return action


def may_repeat(action: Action, last: Failed) -> bool:
    """Whether a call that failed so is made again."""
    return last.code in (OURS_RETRIED if last.is_ours else action.retry.codes)


def stuck_at(key: str, direction: Direction, progress: Progress) -> GetStuck:
    """It stays as it is, with its last failure, until an operator does something."""
    if progress.last:
        return GetStuck(direction, failure_of(progress.last))
    return GetStuck(direction, Failure(Code.UNKNOWN.name, "GAVE_UP", "no answer within its budget", key))


def failure_of(last: Failed) -> Failure:
    """The failure that expressions and problem documents read; its reason is a token and never empty."""
    reason = last.reason if is_reason(last.reason) else last.code.name
    return Failure(last.code.name, reason, last.message, last.step)


def is_attempted(history: History, key: str) -> bool:
    """The call may have been made, and nothing has settled yet whether it happened."""
    return history.was_resumed(key) or history.of(key, Direction.ACTION).is_in_doubt
