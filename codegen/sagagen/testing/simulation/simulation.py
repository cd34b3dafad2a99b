"""Plays one drawn schedule after the other, until enough sagas have run or something is broken, and shrinks that."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Protocol

from sagagen.testing.simulation.drawing import drawn
from sagagen.testing.simulation.outcomes import Played, Violation
from sagagen.testing.simulation.schedule import Schedule, SentSaga
from sagagen.testing.simulation.shrinking import MOST_RUNS, shrunk
from sagagen.testing.simulation.subjects import Subject


class Player(Protocol):
    """Plays schedules, each in a world of its own."""

    @property
    def services(self) -> Sequence[str]:
        """Names of the processes beside the gateway."""
        ...

    def play(self, schedule: Schedule) -> Played:
        """Raises ValueError where the schedule is of another contract."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """Something that does not hold, with a small schedule that shows it."""

    world: int
    """Number of the world in which it was found."""
    violation: Violation
    """Of the small schedule."""
    schedule: Schedule
    played: Played


@dataclass
class Tally:
    """What was simulated so far."""

    sagas: int = 0
    worlds: int = 0
    faults: int = 0
    """Drawn: one that strikes a call which is never made does not happen."""
    ends: Counter[str] = field(default_factory=Counter[str])
    _worlds: list[str] = field(default_factory=list[str])
    """Digest of each."""

    def add(self, schedule: Schedule, played: Played) -> None:
        self.worlds += 1
        self.sagas += len(schedule.sagas)
        self.faults += sum(len(saga.faults) for saga in schedule.sagas) + len(schedule.kills)
        self.ends.update(played.ends)
        self._worlds.append(played.digest)

    @property
    def digest(self) -> str:
        """Of all that happened: the same seed and contract give the same, wherever it runs."""
        return sha256("\n".join(self._worlds).encode()).hexdigest()[:16]


def simulate(
    player: Player,
    subjects: Sequence[Subject],
    seed: int,
    sagas: int,
    *,
    tell: Callable[[Tally], None] = lambda _: None,
    most_runs: int = MOST_RUNS,
) -> tuple[Tally, Found | None]:
    """So many sagas, many at once in one world; fewer where something is found. `tell` hears of each world."""
    tally = Tally()
    while tally.sagas < sagas:
        schedule = drawn(subjects, player.services, seed, tally.worlds, sagas - tally.sagas)
        played = player.play(schedule)
        tally.add(schedule, played)
        tell(tally)
        if played.broken:
            return tally, _small(player, subjects, schedule, played, tally.worlds - 1, most_runs)
    return tally, None


def _small(
    player: Player,
    subjects: Sequence[Subject],
    schedule: Schedule,
    played: Played,
    world: int,
    most_runs: int,
) -> Found:
    invariant = played.broken[0].invariant
    by_name: Mapping[str, Subject] = {each.saga.name: each for each in subjects}

    def simpler(sent: SentSaga) -> Sequence[SentSaga]:
        return [*by_name[sent.saga].simpler(sent)]

    small = shrunk(schedule, lambda cut: player.play(cut).breaks(invariant), simpler, most_runs=most_runs)
    again = player.play(small)
    violation = next((each for each in again.broken if each.invariant == invariant), played.broken[0])
    return Found(world, violation, small, replace(again))
