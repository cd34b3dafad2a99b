"""Makes a schedule that breaks something smaller, as long as it breaks the same thing.

Not by way of the seed: a schedule is cut as it stands. First whole sagas go, then what goes wrong, then what differs
from the sample and from round times. Each cut that still fails is kept, and all are tried again, until none is left.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from sagagen.testing.simulation.schedule import CALM, Fault, Schedule, SentSaga, renumbered

T = TypeVar("T")
MOST_RUNS = 400
"""How often a schedule is played while it is made smaller."""
Simpler = Callable[[SentSaga], Iterable[SentSaga]]
"""Sagas like one, nearer to the sample, the simplest first."""


def shrunk(
    schedule: Schedule,
    breaks: Callable[[Schedule], bool],
    simpler: Simpler | None = None,
    *,
    most_runs: int = MOST_RUNS,
) -> Schedule:
    """The smallest schedule found that still `breaks` what this one does; it is asked at most `most_runs` times."""
    tried = {schedule}
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for cut in _cuts(schedule, simpler or _none):
            if cut in tried:
                continue
            if len(tried) > most_runs:
                return schedule
            tried.add(cut)
            if breaks(cut):
                schedule, is_smaller = cut, True
                break
    return schedule


def _none(_: SentSaga) -> Iterable[SentSaga]:
    return ()


def _cuts(schedule: Schedule, simpler: Simpler) -> Iterator[Schedule]:
    """Smaller schedules, those first that leave most out."""
    for sagas in _without(schedule.sagas):
        if sagas:
            yield replace(schedule, sagas=sagas)
    for kills in _without(schedule.kills):
        yield replace(schedule, kills=kills)
    yield from _of_each_saga(schedule, _less_happens)
    if schedule.pace != CALM:
        yield replace(schedule, pace=CALM)
    yield renumbered(schedule)
    yield from _of_each_saga(schedule, simpler)
    yield from _of_each_saga(schedule, _rounder)
    for number, kill in enumerate(schedule.kills):
        for down_ms in _rounder_times(kill.down_ms):
            yield replace(schedule, kills=_with(schedule.kills, number, replace(kill, down_ms=down_ms)))
        for at_ms in _rounder_times(kill.at_ms):
            yield replace(schedule, kills=_with(schedule.kills, number, replace(kill, at_ms=at_ms)))


def _without(many: tuple[T, ...]) -> Iterator[tuple[T, ...]]:
    """All but a half, a quarter, and so on, and at last all but one."""
    size = len(many)
    while size:
        for start in range(0, len(many), size):
            yield many[:start] + many[start + size :]
        size //= 2


def _of_each_saga(schedule: Schedule, change: Simpler) -> Iterator[Schedule]:
    for place, saga in enumerate(schedule.sagas):
        for changed in change(saga):
            yield replace(schedule, sagas=_with(schedule.sagas, place, changed))


def _less_happens(saga: SentSaga) -> Iterator[SentSaga]:
    for faults in _without(saga.faults):
        yield replace(saga, faults=faults)
    for events in _without(saga.events):
        yield replace(saga, events=events)


def _rounder(saga: SentSaga) -> Iterator[SentSaga]:
    """Earlier and rounder times, earlier attempts, nobody in particular."""
    for at_ms in _rounder_times(saga.at_ms):
        yield replace(saga, at_ms=at_ms)
    if saga.caller != "anonymous":
        yield replace(saga, caller="anonymous")
    for place, fault in enumerate(saga.faults):
        for changed in _rounder_faults(fault):
            yield replace(saga, faults=_with(saga.faults, place, changed))
    for place, event in enumerate(saga.events):
        for after_ms in _rounder_times(event.after_ms):
            yield replace(saga, events=_with(saga.events, place, replace(event, after_ms=after_ms)))


def _rounder_faults(fault: Fault) -> Iterator[Fault]:
    if fault.attempt > 1:
        yield replace(fault, attempt=1)
    for late_ms in _rounder_times(fault.late_ms):
        yield replace(fault, late_ms=late_ms)


def _rounder_times(ms: int) -> Iterator[int]:
    """Smaller ones, so that this comes to an end."""
    if ms > 0:
        yield 0
    for unit in (60_000, 1000, 100):
        if ms > unit and ms % unit:
            yield ms - ms % unit


def _with(many: Sequence[T], place: int, changed: T) -> tuple[T, ...]:
    return (*many[:place], changed, *many[place + 1 :])
