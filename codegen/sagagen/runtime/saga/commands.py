"""What an operator may do to a saga, and the row that says it was done.

`row_for` is pure, and the same for a saga that runs, one that is stuck, and one in a log at rest. Each command is
checked between two calls of the saga, never during one: so a pivot whose call is on its way counts as attempted.

Whatever a saga is stuck at, a command ends it:

    stuck at                                   goes on, or ends, by
    -----------------------------------------  -----------------------------------------------------------
    a compensatable step                       retry, cancel (and then what is stuck on the way back)
    a pivot that was attempted                 retry, resolve as done or refused
    a retriable step                           retry (unless its request can't be built), resolve, skip
    a compensation                             retry (unless its request can't be built), resolve

`hold` makes an active saga stuck at its present call, so that a person can act while the engine does not. Every command
may be repeated: what it asks for is done once, and `row_for` says None where it was done before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.model.definition import (
    Delay,
    Direction,
    Saga,
    Step,
    StepKind,
    Wait,
    leaves,
)
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import NOT_BUILT, CallNow, End, StepCall
from sagagen.runtime.saga.events import (
    Cancelled,
    DoneByHand,
    GaveUp,
    Held,
    OperatorRow,
    Outcome,
    RefusedByHand,
    Resolved,
    Retried,
    SagaStatus,
)
from sagagen.runtime.saga.forward import is_settled
from sagagen.runtime.saga.history import NOBODY_KNOWS, History
from sagagen.runtime.saga.repeating import is_attempted
from sagagen.runtime.scope import Failure, step_name

CallPlace = tuple[str, Direction]
"""A step, and whether it is about its action or its compensation."""


class Act(StrEnum):
    RETRY = "retry"
    """Try a failing call again now, with a new budget."""
    RESOLVE = "resolve"
    """A stuck call was settled by hand: a compensation or a step is done, or a pivot refused."""
    SKIP = "skip"
    """Leave a stuck step after the pivot as it is, and go on without it."""
    CANCEL = "cancel"
    """Turn back and compensate; never once the pivot was attempted."""
    HOLD = "hold"
    """Repeat no call for now: the saga is stuck until an operator says how it goes on."""


BOUND = frozenset({Act.RESOLVE, Act.SKIP})
"""Commands that name the step: whoever gives one vouches for that step and no other."""


@dataclass(frozen=True, slots=True)
class OperatorCommand:
    """What an operator wants, and who they are."""

    act: Act
    by: str
    note: str = ""
    step: str = ""
    """The step that they saw; `resolve` and `skip` need it. Empty: whatever step it is."""
    outcome: Outcome | None = None
    """Of `resolve`: DONE or REFUSED. None: DONE for what can't be refused."""
    response: bytes | None = None
    """Of `resolve`, for a step that is done: its response, encoded. None: the default one."""
    audit: AuditEntry | None = None
    """What the audit says once it is done; it goes with the row."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A command that the saga would carry out now."""

    act: Act
    step: str
    """The step that it is about; empty for `cancel`, which is about the whole saga."""
    outcome: Outcome | None = None
    """Of `resolve`, where there is a choice."""


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


def row_for(command: OperatorCommand, saga: Saga | None, history: History, now_ms: int) -> OperatorRow | None:
    """The row that carries the command out; None if that was done before. Raises CommandRejected.

    `saga` is None where its definition is missing. What follows a step that is settled (`next`, `result`) is left for
    whoever can build requests.
    """
    if _was_done(command, history):
        return None
    if history.ended:
        raise CommandRejected(f"the saga is over ({history.status}): nothing is left to {command.act}")
    row = _ROWS[command.act](command, saga, history)
    return replace(row, at_ms=now_ms, by=command.by, note=command.note, audit=command.audit)


def offers(saga: Saga | None, history: History) -> Iterator[Offer]:
    """The commands that `row_for` would accept, in the order in which they are best tried."""
    steps = [key for key, _ in _places(saga, history)] or [""]
    for offer in (
        *(offer for step in steps for offer in _about(step)),
        Offer(Act.CANCEL, ""),
        *(Offer(Act.HOLD, step) for step in steps),
    ):
        if _is_accepted(offer, saga, history) and not _says_the_same(offer, saga, history):
            yield offer


def _about(step: str) -> Iterator[Offer]:
    yield Offer(Act.RETRY, step)
    yield Offer(Act.RESOLVE, step)
    yield Offer(Act.RESOLVE, step, Outcome.DONE)
    yield Offer(Act.RESOLVE, step, Outcome.REFUSED)
    yield Offer(Act.SKIP, step)


def current_calls(saga: Saga | None, history: History) -> tuple[StepCall, ...]:
    """The calls that the saga makes now, or will make after a wait between attempts."""
    decision = decide(saga, history) if saga else None
    return decision.calls if isinstance(decision, CallNow) else ()


def stuck_places(saga: Saga | None, history: History) -> tuple[CallPlace, ...]:
    """What the saga is stuck at; none where that can't be told without its definition."""
    places = tuple((key, stuck.direction) for key, stuck in history.stuck.items() if key)
    if places or not history.stuck:
        return places
    calls = current_calls(saga, history._replace(stuck={}))  # no step was to blame: whatever comes next
    return tuple((call.key, call.direction) for call in calls)


def _is_accepted(offer: Offer, saga: Saga | None, history: History) -> bool:
    command = OperatorCommand(offer.act, "somebody", "why", offer.step, offer.outcome)
    try:
        return row_for(command, saga, history, 0) is not None
    except CommandRejected:
        return False


def _says_the_same(offer: Offer, saga: Saga | None, history: History) -> bool:
    """`resolve --as done` is `resolve` where nothing else can be said."""
    plain = Offer(Act.RESOLVE, offer.step)
    return offer.outcome is Outcome.DONE and _is_accepted(plain, saga, history)


def _places(saga: Saga | None, history: History) -> tuple[CallPlace, ...]:
    """Where the saga is: what it is stuck at, otherwise the calls that it makes."""
    if history.stuck:
        return stuck_places(saga, history)
    return tuple((call.key, call.direction) for call in current_calls(saga, history))


def _was_done(command: OperatorCommand, history: History) -> bool:
    match command.act:
        case Act.RETRY:
            return False
        case Act.RESOLVE:
            return _was_resolved(command, history)
        case Act.SKIP:
            return isinstance(history.settled.get(command.step), GaveUp)
        case Act.CANCEL:
            return history.cancelled is not None
        case Act.HOLD:
            return command.step in history.stuck if command.step else bool(history.stuck)


def _was_resolved(command: OperatorCommand, history: History) -> bool:
    if isinstance(history.settled.get(command.step), Resolved):
        return command.outcome is not Outcome.REFUSED and command.response is None
    match history.by_hand.get(command.step):
        case DoneByHand(response=response):
            return command.outcome is not Outcome.REFUSED and command.response in (None, response)
        case RefusedByHand():
            return command.outcome is Outcome.REFUSED
        case None:
            return False


def _retried(command: OperatorCommand, saga: Saga | None, history: History) -> OperatorRow:
    if history.stuck:
        step, direction = _named(command, saga, history) or _where_stuck(history)
        is_built_anew = direction is Direction.COMPENSATION  # by the definition that is deployed now
        if step in history.stuck and history.stuck[step].failure.reason == NOT_BUILT and not is_built_anew:
            raise CommandRejected("its request can't be built from what is logged: no retry changes that")
        return Retried(at_ms=0, step=step, direction=direction)
    failing = [call for call in current_calls(saga, history) if call.failures]
    if not failing:
        raise CommandRejected(
            f"the saga is {history.status} and no call of it is failing: there is nothing to retry"
        )
    step, direction = _one(command, tuple((call.key, call.direction) for call in failing))
    return Retried(at_ms=0, step=step, direction=direction)


def _where_stuck(history: History) -> CallPlace:
    """Of a saga that is stuck with no step to blame, and whose definition is missing."""
    return "", next(iter(history.stuck.values())).direction


def _resolved(command: OperatorCommand, saga: Saga | None, history: History) -> OperatorRow:
    name, direction = _vouched_for(command, saga, history)
    if direction is Direction.COMPENSATION:
        if command.outcome is Outcome.REFUSED or command.response is not None:
            raise CommandRejected(f"the compensation of step {name} can only be done: it has no response")
        return Resolved(at_ms=0, step=name)
    step = _definition(saga, name)
    match step.kind, command.outcome:
        case StepKind.COMPENSATABLE, _:
            raise CommandRejected(f"step {name} can be undone: `cancel` the saga, or `retry` the step")
        case StepKind.PIVOT, None if command.response is None:
            raise CommandRejected(f"step {name} is the pivot: say whether it is done or refused")
        case StepKind.PIVOT, Outcome.REFUSED:
            return RefusedByHand(at_ms=0, step=name)
        case StepKind.RETRIABLE, Outcome.REFUSED:
            raise CommandRejected(f"after the pivot nothing is refused any more: `skip` step {name}")
        case _:
            return DoneByHand(at_ms=0, step=name, response=command.response or b"")


def _skipped(command: OperatorCommand, saga: Saga | None, history: History) -> OperatorRow:
    name, direction = _vouched_for(command, saga, history)
    if direction is Direction.COMPENSATION:
        raise CommandRejected(f"a compensation is never skipped: undo step {name} by hand, then `resolve` it")
    kind = _definition(saga, name).kind
    if kind is StepKind.PIVOT:
        raise CommandRejected(
            f"step {name} is the pivot, which is never skipped: find out, then `resolve` it"
        )
    if kind is StepKind.COMPENSATABLE:
        raise CommandRejected(f"what follows relies on step {name}: `cancel` the saga, or `retry` the step")
    return GaveUp(at_ms=0, failure=replace(_failure_at(history, name), step=name))


def _failure_at(history: History, step: str) -> Failure:
    stuck = history.stuck.get(step) or history.stuck[NOBODY_KNOWS]
    return stuck.failure


def _cancelled(_command: OperatorCommand, saga: Saga | None, history: History) -> OperatorRow:
    if history.turned_back:
        raise CommandRejected("the saga already turns back; `retry` or `resolve` what fails")
    if saga is None:
        raise CommandRejected("this code lacks the saga's definition, so it does not know what to undo")
    if past := point_of_no_return(saga, history):
        raise CommandRejected(
            f"its pivot is done, or may be: from step {past} on the saga only goes forward; `retry` what fails"
        )
    if decide(saga, history._replace(stuck={})) == End(SagaStatus.COMPLETED):
        raise CommandRejected("all steps of the saga are done")
    return Cancelled(at_ms=0)


def point_of_no_return(saga: Saga, history: History) -> str:
    """The element from which on the saga only goes forward, if it has come there; otherwise empty."""
    element = next((element for element in saga.steps if not is_settled(saga, history, element.name)), None)
    if element is None or element.kind is StepKind.COMPENSATABLE:
        return ""
    if element.kind is StepKind.RETRIABLE:
        return element.name
    is_stuck = any(key == element.name for key, _ in stuck_places(saga, history))
    return element.name if is_stuck or is_attempted(history, element.name) else ""


def _held(command: OperatorCommand, saga: Saga | None, history: History) -> OperatorRow:
    calls = tuple((call.key, call.direction) for call in current_calls(saga, history))
    if not calls:
        raise CommandRejected(f"the saga is {history.status} and makes no call that could be held")
    step, direction = _one(command, calls)
    return Held(at_ms=0, step=step, direction=direction)


_ROWS: Mapping[Act, Callable[[OperatorCommand, Saga | None, History], OperatorRow]] = {
    Act.RETRY: _retried,
    Act.RESOLVE: _resolved,
    Act.SKIP: _skipped,
    Act.CANCEL: _cancelled,
    Act.HOLD: _held,
}


def _vouched_for(command: OperatorCommand, saga: Saga | None, history: History) -> CallPlace:
    """What a person settles by hand: only what is stuck, so that the engine does not do it too meanwhile."""
    if not command.note.strip():
        raise CommandRejected(f"{command.act} needs a note that says what was found out, or done by hand")
    if not history.stuck:
        raise CommandRejected(
            f"the saga is {history.status}: only what is stuck can be settled by hand; `hold` it first"
        )
    places = stuck_places(saga, history)
    if not places:
        raise CommandRejected("no step is to blame for what it is stuck at: `retry` it")
    if not command.step:
        named = ", ".join(step for step, _ in places)
        raise CommandRejected(f"{command.act} names the step that it vouches for: {named}")
    return _one(command, places)


def _named(command: OperatorCommand, saga: Saga | None, history: History) -> CallPlace | None:
    places = stuck_places(saga, history)
    return _one(command, places) if places else None


def _one(command: OperatorCommand, places: Sequence[CallPlace]) -> CallPlace:
    """The place that a command is about. Raises CommandRejected if it names another one, or none of several."""
    if not command.step and len(places) == 1:
        return places[0]
    for place in places:
        if command.step == place[0]:
            return place
    where = ", ".join(_in_words(place) for place in places)
    if not command.step:
        raise CommandRejected(f"the saga is {where}: name the step that is meant")
    raise CommandRejected(f"the saga is not at step {command.step} any more: it is {where}")


def _in_words(place: CallPlace) -> str:
    step, direction = place
    return f"undoing step {step}" if direction is Direction.COMPENSATION else f"at step {step}"


def _definition(saga: Saga | None, name: str) -> Step | Wait | Delay:
    plain = step_name(name)
    step = next((step for step in leaves(saga.steps) if step.name == plain), None) if saga else None
    if step is None:
        raise CommandRejected("this code lacks the saga's definition, so it does not know what follows")
    return step
