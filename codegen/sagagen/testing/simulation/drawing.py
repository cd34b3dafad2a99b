"""Schedules drawn from a seed: what many clients send, and a weather from calm to stormy.

A world's schedule is a function of the seed, its number and the project's contract alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from sagagen.runtime.model.definition import Direction, StepKind, Wait
from sagagen.testing.simulation.schedule import (
    GATEWAY,
    Fault,
    FaultKind,
    Kill,
    Schedule,
    SentEvent,
    SentSaga,
)
from sagagen.testing.simulation.subjects import Incoming, Point, Subject


@dataclass(frozen=True)
class Climate:
    """What kind of world it is: large ones let sagas meet, small ones let everything go wrong at little cost."""

    sagas: tuple[int, int]
    """At least, and at most."""
    faults: float
    """Of a saga, on average."""
    deadly: int
    """Sagas whose faults may end a process: all the others call it again and again meanwhile."""
    outages: float = 0.0
    """How likely it is that a process that dies stays down longer than most sagas may take."""


CLIMATES = (
    Climate((60, 90), 0.0, 0),
    Climate((60, 90), 0.4, 2),
    Climate((60, 90), 0.4, 4),
    Climate((8, 12), 1.0, 12, 0.5),
    Climate((8, 12), 1.5, 12, 0.5),
)
CALLERS = ("ann", "bob")
_SPREADS_MS = (0, 200, 3000)
"""Within what time sagas are sent."""
_MILD = (
    FaultKind.REQUEST_LOST,
    FaultKind.ANSWER_LOST,
    FaultKind.ANSWER_LOST,
    FaultKind.FAILS,
    FaultKind.LATE,
    FaultKind.TWICE,
)
_DEATHS = (
    FaultKind.DIES_BEFORE,
    FaultKind.DIES_AFTER,
    FaultKind.GATEWAY_BEFORE,
    FaultKind.GATEWAY_AFTER,
    FaultKind.GATEWAY_LATER,
)
_REFUSALS = (FaultKind.REFUSES,) * 3


def drawn(
    subjects: Sequence[Subject], services: Sequence[str], seed: int, number: int, at_most: int = 1000
) -> Schedule:
    """The schedule of world `number`, with so many sagas at most."""
    random = Random(f"{seed} {number}")
    climate = random.choice(CLIMATES)
    sagas = min(at_most, random.randint(*climate.sagas))
    spread_ms = random.choice(_SPREADS_MS)
    deadly = random.sample(range(sagas), min(climate.deadly, sagas))
    sent = [
        _saga(random, random.choice(subjects), each + 1, climate.faults, spread_ms, deaths=each in deadly)
        for each in range(sagas)
    ]
    kills = random.choice([0, 0, 1, 2]) if climate.deadly else 0
    processes = [GATEWAY, *services]
    return Schedule(
        pace=random.randrange(1, 1 << 32),
        sagas=tuple(_with_an_outage(random, sent, climate.outages)),
        kills=tuple(
            sorted(
                (
                    Kill(random.choice(processes), _soon_ms(random, 1, 4), _down_ms(random))
                    for _ in range(kills)
                ),
                key=lambda kill: kill.at_ms,
            )
        ),
    )


def _saga(
    random: Random, subject: Subject, number: int, faults_of: float, spread_ms: int, *, deaths: bool
) -> SentSaga:
    given = subject.samples.drawn(random)
    caller = random.choice([*subject.callers, *CALLERS])
    faults: tuple[Fault, ...] = ()
    if random.random() < faults_of:
        points = subject.points(given, caller)
        count = random.choice([1, 1, 2, 3]) if faults_of > 1 else 1
        faults = tuple(sorted(_faults(random, points, count, deaths=deaths)))
    return SentSaga(
        number=number,
        saga=subject.saga.name,
        at_ms=random.randint(0, spread_ms),
        input=given,
        caller=caller,
        faults=faults,
        events=tuple(_events(random, subject)),
    )


def _faults(random: Random, points: Sequence[Point], count: int, *, deaths: bool) -> Iterator[Fault]:
    """At different attempts, so that each has its turn."""
    taken: set[tuple[str, Direction, int]] = set()
    for _ in range(count if points else 0):
        point = random.choice([*points, *(each for each in points if each.kind is StepKind.PIVOT)])
        fault = _fault(random, point, deaths=deaths)
        attempt = fault.step, fault.direction, fault.attempt
        if attempt not in taken:
            taken.add(attempt)
            yield fault


def _fault(random: Random, point: Point, *, deaths: bool) -> Fault:
    undoes = point.is_undone and random.random() < 0.35
    direction = Direction.COMPENSATION if undoes else Direction.ACTION
    may_refuse = not undoes and point.kind is not StepKind.RETRIABLE and not point.is_read
    kinds = (*_MILD, *(_REFUSALS if may_refuse else ()), *(_DEATHS if deaths else ()))
    kind = random.choice(kinds)
    late_ms = 0
    if kind is FaultKind.LATE:
        late_ms = round(point.timeout_s * 1000) + random.randint(1, 3000)
    elif kind is FaultKind.TWICE:
        late_ms = _soon_ms(random, 0, 4)
    elif kind in _DEATHS:
        late_ms = _down_ms(random)
    return Fault(point.key, direction, random.choice([1, 1, 1, 2]), kind, late_ms)


def _events(random: Random, subject: Subject) -> Iterator[SentEvent]:
    for number, wait in enumerate(subject.waits()):
        yield from _for_wait(random, subject.events[wait.event], wait, number)
    if subject.cancel and random.random() < 0.15:
        payload = subject.cancel.samples.drawn(random)
        yield SentEvent("", _soon_ms(random, 1, 5), payload, "cancel")


def _for_wait(random: Random, incoming: Incoming, wait: Wait, number: int) -> Iterator[SentEvent]:
    """In time as a rule; sometimes late, never, again, or twice."""
    chance = random.random()
    if chance < 0.08:
        return
    after_ms = _soon_ms(random, 1, 4.7)
    if chance < 0.14 and wait.within_s is not None:
        after_ms = round(wait.within_s * 1000) + _soon_ms(random, 1, 4)
    payload = incoming.samples.drawn(random)
    sent = SentEvent(wait.event, after_ms, payload, f"{wait.name}-{number}")
    yield sent
    if chance > 0.88:
        yield SentEvent(wait.event, after_ms + _soon_ms(random, 0, 4), payload, sent.key)
    elif chance > 0.8:
        other = incoming.samples.drawn(random)
        yield SentEvent(wait.event, after_ms + _soon_ms(random, 0, 4), other, f"{sent.key}-again")


def _down_ms(random: Random) -> int:
    """A second at most: while a service is down, all sagas call it again and again."""
    return _soon_ms(random, 2, 3)


def _with_an_outage(random: Random, sagas: list[SentSaga], likely: float) -> list[SentSaga]:
    """After one of the deaths the process stays down longer than most sagas may take."""
    deaths = [
        (place, number)
        for place, saga in enumerate(sagas)
        for number, fault in enumerate(saga.faults)
        if fault.kind in _DEATHS
        # What is done, and nobody knows it, is what an outage makes hard.
        for _ in range(4 if fault.kind is FaultKind.DIES_AFTER else 1)
    ]
    if not deaths or random.random() > likely:
        return sagas
    place, number = random.choice(deaths)
    faults = [*sagas[place].faults]
    faults[number] = replace(faults[number], late_ms=random.randint(60_000, 90_000))
    sagas[place] = replace(sagas[place], faults=tuple(faults))
    return sagas


def _soon_ms(random: Random, least: float, most: float) -> int:
    """Between two powers of ten, the small ones as often as the large ones: most of what happens, happens at once."""
    return int(10 ** random.uniform(least, most))
