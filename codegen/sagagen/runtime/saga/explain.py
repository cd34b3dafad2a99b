"""Where a saga is, what it waits for and until when: for the person who decides what to do."""

from dataclasses import dataclass

from sagagen.runtime.model.definition import Direction, Saga, Step, StepKind
from sagagen.runtime.saga.commands import current_call
from sagagen.runtime.saga.decision import StepCall
from sagagen.runtime.saga.events import Stuck
from sagagen.runtime.saga.history import History


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
        "" if call.give_up_at_ms is None else _then(call),
        str(last) if last else _why_turned_back(history),
    )


def _then(call: StepCall) -> str:
    turns_back = call.is_cut_short or (call.step.kind is StepKind.PIVOT and call.failures == 0)
    return "it turns back" if turns_back else "it is stuck, and waits for an operator"


def _stuck(saga: Saga | None, history: History, stuck: Stuck) -> Explanation:
    failure = stuck.failure
    acts = (
        "retry, or resolve with a note" if stuck.direction is Direction.COMPENSATION else "retry, or cancel"
    )
    step = next((step for step in saga.steps if step.name == failure.step), None) if saga else None
    return Explanation(
        f"It is stuck {_place(stuck)} and waits for an operator: {acts}.",
        failure.step,
        _service(step, stuck.direction),
        error=": ".join(part for part in (failure.code, failure.reason, failure.message) if part),
    )


def _place(stuck: Stuck) -> str:
    if not stuck.failure.step:
        return "by a mistake of the engine's own"
    return f"{'undoing' if stuck.direction is Direction.COMPENSATION else 'at'} step {stuck.failure.step}"


def _service(step: Step | None, direction: Direction) -> str:
    if step is None:
        return ""
    action = step.action if direction is Direction.ACTION else step.compensation
    return action.service if action else ""


def _why_turned_back(history: History) -> str:
    if history.turned_back is None:
        return ""
    failure = history.turned_back.failure
    return ": ".join(part for part in (failure.code, failure.reason, failure.message) if part)
