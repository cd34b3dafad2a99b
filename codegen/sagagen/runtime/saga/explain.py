"""Where a saga is, what it waits for and until when: for the person who decides what to do."""

from dataclasses import dataclass

from sagagen.runtime.model.definition import Direction, Saga, Step, StepKind
from sagagen.runtime.saga.commands import current_call, stuck_place
from sagagen.runtime.saga.decision import ENGINE_ERROR, StepCall, is_attempted
from sagagen.runtime.saga.events import Stuck
from sagagen.runtime.saga.history import History
from sagagen.runtime.scope import Failure


@dataclass(frozen=True, slots=True)
class Explanation:
    text: str
    step: str = ""
    service: str = ""
    """Of the call that is being made, or is stuck."""
    until_ms: int | None = None
    """When waiting ends, ms since the epoch; None if no time ends it."""
    then: str = ""
    """What happens at `until_ms`."""
    error: str = ""
    """The last failure; empty if there is none."""


def explain(saga: Saga | None, history: History, waiting_for: str) -> Explanation:
    """From the log. `saga` is None where its definition is missing; `waiting_for` then says what to deploy."""
    if history.ended:
        return Explanation(f"It is over: {history.status}.", error=_why_turned_back(history))
    if history.stuck:
        return _stuck(saga, history, history.stuck)
    if waiting_for:
        return Explanation(f"It waits for a deployment: {waiting_for}.", error=_why_turned_back(history))
    call = current_call(saga, history)
    if saga is None or call is None:
        return Explanation("It is active.", error=_why_turned_back(history))
    return _calling(history, call)


def _calling(history: History, call: StepCall) -> Explanation:
    last = history.of(call.step.name, call.direction).last
    what = f"{call.action.service}{call.action.method.path}"
    undoes = call.direction is Direction.COMPENSATION
    begun = f"It {'undoes' if undoes else 'is at'} step {call.step.name}: attempt {call.attempt} of {what}"
    return Explanation(
        f"{begun}{', after failures' if call.failures else ''}.",
        call.step.name,
        call.action.service,
        call.give_up_at_ms,
        "" if call.give_up_at_ms is None else _then(call, history),
        str(last) if last else _why_turned_back(history),
    )


def _then(call: StepCall, history: History) -> str:
    progress = history.of(call.step.name, call.direction)
    is_ahead = call.step.kind is StepKind.PIVOT and not is_attempted(history, progress)
    turns_back = call.is_cut_short or is_ahead
    return "it turns back" if turns_back else "it is stuck, and waits for an operator"


def _stuck(saga: Saga | None, history: History, stuck: Stuck) -> Explanation:
    failure = stuck.failure
    name, direction = stuck_place(saga, history, stuck) or ("", stuck.direction)
    step = next((step for step in saga.calls if step.name == name), None) if saga else None
    return Explanation(
        f"It is stuck {_place(name, direction, failure)} and waits for an operator.",
        name,
        _service(step, direction),
        error=_in_a_line(failure),
    )


def _place(step: str, direction: Direction, failure: Failure) -> str:
    where = f"{'undoing' if direction is Direction.COMPENSATION else 'at'} step {step}" if step else ""
    by = "by a mistake of the engine's own" if failure.reason == ENGINE_ERROR else ""
    return f"{where}, {by}" if where and by else where or by


def _service(step: Step | None, direction: Direction) -> str:
    if step is None:
        return ""
    action = step.action if direction is Direction.ACTION else step.compensation
    return action.service if action else ""


def _why_turned_back(history: History) -> str:
    if history.turned_back is None:
        return ""
    return _in_a_line(history.turned_back.failure)


def _in_a_line(failure: Failure) -> str:
    """`CODE: REASON: message`; a failure without a reason of its own has its code for one."""
    reason = "" if failure.reason == failure.code else failure.reason
    return ": ".join(part for part in (failure.code, reason, failure.message) if part)
