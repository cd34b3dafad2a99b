"""What must hold when every saga of a world is over."""

from collections.abc import Iterator, Mapping, Sequence

from sagagen.runtime.model.definition import Saga
from sagagen.runtime.saga.decision import DEADLINE_PASSED
from sagagen.runtime.saga.events import SagaStatus, TimedOut
from sagagen.runtime.saga.history import History
from sagagen.testing.invariants import (
    Databases,
    Effect,
    Invariant,
    broken,
    effects_twice,
    left_in_part,
    undone_in_wrong_order,
)
from sagagen.testing.simulation.outcomes import Violation
from sagagen.testing.simulation.world import CANCELS, ClientSaw, SimulatedWorld

ENDS = "each saga ends"
ONCE = "each effect happens once"
ORDER = "what is done last is undone first"
WHOLE = "all or nothing"
GOES_ON = "what fails for a while does not turn a saga back"
ANSWERS = "a repeated call gets the same answer"
TOLD = "what a client was told holds"
BUILT_IN = (ENDS, ONCE, ORDER, WHOLE, GOES_ON, ANSWERS, TOLD)
"""Names of the invariants that hold in any project, in the order in which they are asked for."""


def judged(world: SimulatedWorld, own: Sequence[tuple[str, Invariant]]) -> Iterator[Violation]:
    """What does not hold. `own`: the project's invariants, by name."""
    names = {
        of: f"{sent.saga} {sent.number}" for sent in world.schedule.sagas for of in [world.ids[sent.number]]
    }
    for invariant, text in _judged(world, own):
        for of, name in names.items():
            text = text.replace(of, name)
        yield Violation(invariant, text)


def _judged(world: SimulatedWorld, own: Sequence[tuple[str, Invariant]]) -> Iterator[tuple[str, str]]:
    for of, history in world.histories.items():
        if history.ended is None:
            yield ENDS, f"{of} is {history.status}{_why_stuck(history)}"
    yield from ((ONCE, text) for text in _twice(world.effects))
    by_saga: dict[str, list[Effect]] = {}
    for effect in world.effects:
        by_saga.setdefault(effect.saga_id, []).append(effect)
    for of, history in world.histories.items():
        saga = world.saga_of(history)
        yield from _of_saga(of, saga, history, by_saga.get(of, []))
        yield from ((GOES_ON, f"{of}: {text}") for text in _given_up(world, saga, history))
        yield from ((ANSWERS, f"{of}: {text}") for text in _otherwise(world, of, saga))
    yield from ((TOLD, text) for text in _told(world))
    databases: Databases = {name: world.databases[name].connection for name in world.services}
    for name, check in own:
        yield from (
            (name, text.removeprefix(f"{name}: "))
            for text in broken([(name, check)], databases, world.mesh.root)
        )


def _why_stuck(history: History) -> str:
    failures = [stuck.failure for stuck in history.stuck.values()]
    return "".join(f", at {each.step}: {each.reason}: {each.message}" for each in failures)


def _twice(effects: Sequence[Effect]) -> Iterator[str]:
    counted: dict[Effect, int] = {}
    for effect in effects:
        counted[effect] = counted.get(effect, 0) + 1
    for effect, count in counted.items():
        if count > 1:
            (text,) = effects_twice([effect, effect])
            yield f"{effect.saga_id}: {text}"


def _of_saga(of: str, saga: Saga, history: History, effects: Sequence[Effect]) -> Iterator[tuple[str, str]]:
    yield from ((ORDER, f"{of}: {text}") for text in undone_in_wrong_order(saga, effects))
    if history.ended is None:
        return
    yield from ((WHOLE, f"{of}: {text}") for text in left_in_part(saga, history.status, effects))
    done = {effect.key for effect in effects}
    writes = {step.name for step in saga.calls if not step.action.method.is_read}
    for key in history.responses:
        if key.partition("[")[0] in writes and key not in done:
            yield WHOLE, f"{of}: the log says that {key} is done, and it never took effect"


def _given_up(world: SimulatedWorld, saga: Saga, history: History) -> Iterator[str]:
    """Faults strike once, and outages are short: what goes on failing until the deadline does so by itself."""
    back = history.turned_back
    calls = {step.name for step in saga.calls}
    if (
        back is None
        or back.failure.reason != DEADLINE_PASSED
        or back.failure.step.partition("[")[0] not in calls
    ):
        return
    if world.schedule.outage_ms < saga.deadline_s * 1000 / 2:
        yield f"{back.failure.step} failed until the deadline: {back.failure.message}"


def _otherwise(world: SimulatedWorld, of: str, saga: Saga) -> Iterator[str]:
    """A read may answer otherwise: what it reads may have changed."""
    reads = {step.name for step in saga.calls if step.action.method.is_read}
    answers: dict[tuple[str, bool], bytes] = {}
    for call in world.calls.get(of, ()):
        if call.outcome != "DONE" or call.step.partition("[")[0] in reads:
            continue
        first = answers.setdefault((call.step, call.is_compensation), call.response)
        if first != call.response:
            what = f"undoing {call.step}" if call.is_compensation else call.step
            yield f"{what} was answered otherwise when it was called again"


def _told(world: SimulatedWorld) -> Iterator[str]:
    for each in world.trace:
        if not isinstance(each, ClientSaw) or each.refusal:
            continue
        history = world.histories.get(each.saga_id)
        if history is None:
            yield f"{each.saga_id} was taken, and is in no log"
        elif each.event == CANCELS and history.status is SagaStatus.COMPLETED:
            yield f"{each.saga_id} was cancelled, and is COMPLETED"
        elif each.event and each.event != CANCELS:
            yield from _event_kept(each, history, world)


def _event_kept(seen: ClientSaw, history: History, world: SimulatedWorld) -> Iterator[str]:
    if not any(event.event == seen.event for event in history.events):
        yield f"{seen.saga_id}: the event {seen.event} was taken, and is in no log"
    unconsumed: Mapping[int, str] = {
        number: event.event for number, event in enumerate(history.events) if number not in history.used
    }
    for name, row in history.settled.items():
        wait = next((each for each in world.saga_of(history).steps if each.name == name), None)
        is_for_it = wait is not None and getattr(wait, "event", "") == seen.event
        if isinstance(row, TimedOut) and is_for_it and seen.event in unconsumed.values():
            first = next(event for number, event in enumerate(history.events) if number in unconsumed)
            if first.at_ms < row.at_ms:
                yield f"{seen.saga_id}: {name} timed out, and its event {seen.event} was there before"
