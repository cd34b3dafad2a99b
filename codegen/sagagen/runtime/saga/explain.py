"""Where a saga is, what it waits for and until when: for the person who decides what to do."""

from dataclasses import dataclass, replace

from sagagen.runtime.model.definition import Delay, Direction, Saga, Step, StepKind, Wait
from sagagen.runtime.saga.commands import CallPlace, stuck_places
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import ENGINE_ERROR, CallNow, Pause, StepCall
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.repeating import is_attempted
from sagagen.runtime.saga.retry import MAX_RETRY_AFTER_S, ceiling_s
from sagagen.runtime.scope import Failure, step_name


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
    next_by_ms: int | None = None
    """When the next attempt begins at the latest, ms since the epoch; None: it may be under way, or there is none."""
    error: str = ""
    """The last failure; empty if there is none."""
    under_way: tuple[str, ...] = ()
    """Keys of all steps that it is at, `step` among them, unless it is stuck: then other branches may go on unnamed."""


def explain(saga: Saga | None, history: History, waiting_for: str) -> Explanation:
    """From the log. `saga` is None where its definition is missing; `waiting_for` then says what to deploy."""
    if history.ended:
        return Explanation(f"It is over: {history.status}.", error=_why_turned_back(history))
    if history.stuck:
        return _stuck(saga, history)
    if waiting_for:
        return Explanation(f"It waits for a deployment: {waiting_for}.", error=_why_turned_back(history))
    decision = decide(saga, history) if saga else None
    if not isinstance(decision, CallNow):
        return Explanation("It is active.", error=_why_turned_back(history))
    calls = [_calling(history, call) for call in decision.calls]
    pauses = sorted(decision.pauses, key=lambda pause: pause.until_ms or 0)
    first, *others = (*calls, *(_pausing(history, pause) for pause in pauses))
    return replace(
        first,
        text=" ".join((first.text, *(other.text for other in others))),
        under_way=tuple(dict.fromkeys(each.step for each in (first, *others))),
    )


def _pausing(history: History, pause: Pause) -> Explanation:
    match pause.element:
        case None:
            text, then = "It has not begun.", "it begins"
        case Wait(event=event, on_timeout=None):
            text, then = f"It waits at step {pause.key} for the event {event}.", "it goes on without it"
        case Wait(event=event):
            text, then = f"It waits at step {pause.key} for the event {event}.", "it turns back"
        case Delay():
            text, then = f"It waits at step {pause.key} for time to pass.", "it goes on"
    if pause.is_deadline:
        then = "it turns back"
    until_ms = pause.until_ms
    return Explanation(
        text,
        pause.key,
        until_ms=until_ms,
        then="" if until_ms is None else then,
        error=_why_turned_back(history),
    )


def _calling(history: History, call: StepCall) -> Explanation:
    last = history.of(call.key, call.direction).last
    what = f"{call.action.service}{call.action.method.path}"
    undoes = call.direction is Direction.COMPENSATION
    begun = f"It {'undoes' if undoes else 'is at'} step {call.key}: attempt {call.attempt} of {what}"
    return Explanation(
        f"{begun}{', after failures' if call.failures else ''}.",
        call.key,
        call.action.service,
        call.give_up_at_ms,
        "" if call.give_up_at_ms is None else _then(call, history),
        _next_by_ms(call),
        str(last) if last else _why_turned_back(history),
    )


def _next_by_ms(call: StepCall) -> int | None:
    """The log knows when a call failed, and the contract how long its pause is at most; the pause itself is drawn."""
    if not call.failures:
        return None
    asked_s = min(call.retry_after_s or 0.0, MAX_RETRY_AFTER_S)
    return call.failed_ms + round((asked_s + ceiling_s(call.action.retry, call.failures)) * 1000)


def _then(call: StepCall, history: History) -> str:
    is_ahead = call.step.kind is StepKind.PIVOT and not is_attempted(history, call.key)
    turns_back = call.is_cut_short or is_ahead
    return "it turns back" if turns_back else "it is stuck, and waits for an operator"


def _stuck(saga: Saga | None, history: History) -> Explanation:
    stuck = tuple(history.stuck.values())
    places: tuple[CallPlace, ...] = stuck_places(saga, history) or (("", stuck[0].direction),)
    name, direction = places[0]
    plain = step_name(name)
    step = next((step for step in saga.calls if step.name == plain), None) if saga else None
    where = [_place(*place, each.failure) for place, each in zip(places, stuck, strict=False)]
    return Explanation(
        f"It is stuck {' and '.join(where)} and waits for an operator.",
        name,
        _service(step, direction),
        error="; ".join(_in_a_line(each.failure) for each in stuck),
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
