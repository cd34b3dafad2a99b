"""What operators are told of many sagas at once: how many, where, how fast, and what keeps them. For every engine.

The port is `SagaFigures`. What an engine can't tell is None, and whoever shows it says so. Each answer comes from
bounded work: from an index, or from the newest sagas, and then it says how many were looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from sagagen.runtime.model.definition import Direction, Saga
from sagagen.runtime.saga.events import Failed, Held, LogEvent, SagaStatus, Stuck, TurnedBack
from sagagen.runtime.saga.search import OpenCount

MINUTES = 60
"""How far back rates go."""


@dataclass(frozen=True, slots=True)
class Count:
    """Sagas of one version that have one status."""

    saga: str
    version: int
    status: SagaStatus
    count: int
    oldest_ms: int | None = None
    """When the oldest of open ones was accepted, ms since the epoch."""


@dataclass(frozen=True, slots=True)
class Minute:
    """What happened in one minute."""

    at_ms: int
    """Its beginning, ms since the epoch."""
    started: int
    completed: int
    compensated: int
    stuck: int
    """Sagas that got stuck in it, and are stuck still."""


@dataclass(frozen=True, slots=True)
class Overview:
    """How all sagas stand."""

    counts: Sequence[Count]
    minutes: Sequence[Minute] | None
    """The last hour, the oldest minute first. None: the engine can't tell."""
    first_ms: Mapping[str, int] | None
    """By saga: when the first that is kept was accepted on its newest definition, ms since the epoch; without those of
    which none was. None: the engine can't tell."""


@dataclass(frozen=True, slots=True)
class SagaGroup:
    """Sagas that the same thing keeps from going on, or has turned back."""

    saga: str
    status: SagaStatus
    step: str
    """Name of the step that failed; empty where none is to blame."""
    error: str
    """The reason of its failure, or the gRPC code where there is none."""
    count: int
    oldest_ms: int
    """When the oldest was accepted, ms since the epoch."""
    newest_ms: int
    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Groups:
    groups: Sequence[SagaGroup]
    """The largest first."""
    looked_at: int
    """Sagas, the newest of each status."""
    is_whole: bool
    """False: there are more open sagas than were looked at."""


class Trouble(NamedTuple):
    """By what sagas are grouped."""

    step: str
    error: str


def trouble_of(rows: Sequence[LogEvent], status: SagaStatus) -> Trouble | None:
    """What keeps a saga from going on, or has turned it back. None: nothing does.

    A saga that goes forward is in trouble while the last thing that happened to it is a failed attempt.
    """
    if status is SagaStatus.STUCK:
        stuck = next((row for row in reversed(rows) if isinstance(row, Stuck | Held)), None)
        if isinstance(stuck, Held):
            return Trouble(_name(stuck.step), "HELD")
        return Trouble(_name(stuck.failure.step), stuck.failure.reason) if stuck else None
    if isinstance(last := rows[-1], Failed):
        return Trouble(_name(last.step), last.reason or last.code.name)
    if status is SagaStatus.RUNNING:
        return None
    back = next((row for row in reversed(rows) if isinstance(row, TurnedBack)), None)
    return Trouble(_name(back.failure.step), back.failure.reason) if back else None


def _name(key: str) -> str:
    return key.partition("[")[0]


@dataclass(frozen=True, slots=True)
class CallFigures:
    """Calls of one step in one direction; of a wait or a delay, how often it was over."""

    attempts: int
    refused: int
    """Attempts that ended in a business refusal."""
    failed: int
    """Attempts that failed in any other way."""
    done: int
    p50_ms: int | None
    """From when it was ready until its first attempt had an outcome; None: no such attempt was seen."""
    p99_ms: int | None

    @property
    def failure_rate(self) -> float | None:
        return self.failed / self.attempts if self.attempts else None


@dataclass(frozen=True, slots=True)
class StepCount:
    """Open sagas at one step."""

    step: str
    direction: Direction
    status: SagaStatus
    count: int


@dataclass(frozen=True, slots=True)
class DefinitionFigures:
    """How the steps of one version of a saga do, in a sample of its newest sagas."""

    ended: int
    """Ended sagas in the sample."""
    open: int
    """Open ones."""
    since_ms: int | None
    """When the oldest change in the sample was, ms since the epoch; None: it is empty."""
    calls: "dict[tuple[str, Direction], CallFigures]"
    """By the step's name."""
    at: Sequence[StepCount]
    """Where open sagas are: those that wait or are stuck all counted, of those that run the ones in the sample."""
    running_seen: int
    """Sagas that run, in the sample."""
    running: int
    """Sagas that run, and neither wait nor are stuck."""


def counts_of_open(counts: Sequence[OpenCount]) -> list[Count]:
    """Open sagas by saga, version and status, wherever they wait."""
    found: dict[tuple[str, int, SagaStatus], list[OpenCount]] = {}
    for each in counts:
        found.setdefault((each.saga, each.version, each.status), []).append(each)
    return [
        Count(*key, sum(each.count for each in own), min(each.oldest_ms for each in own))
        for key, own in found.items()
    ]


def of_saga(counts: Sequence[OpenCount], saga: Saga) -> list[OpenCount]:
    """Those of one definition."""
    key = saga.name, saga.version, saga.digest
    return [each for each in counts if (each.saga, each.version, each.digest) == key]


def resting_at(counts: Sequence[OpenCount], saga: Saga) -> list[StepCount]:
    """Where sagas of a definition wait or are stuck."""
    return [
        StepCount(
            step,
            Direction.COMPENSATION if each.status is SagaStatus.COMPENSATING else Direction.ACTION,
            each.status,
            each.count,
        )
        for each in of_saga(counts, saga)
        for step in each.at_steps
    ]


def running(counts: Sequence[OpenCount], saga: Saga) -> int:
    """How many sagas of a definition run, and neither wait nor are stuck."""
    own = of_saga(counts, saga)
    return sum(each.count for each in own if each.status.is_active and not each.at_steps)


class SagaFigures(Protocol):
    """What an engine can tell of many sagas. Each call raises JournalUnavailable if nothing can be read."""

    async def overview(self, newest: Sequence[Saga]) -> Overview:
        """`newest` are the definitions that take new sagas."""
        ...

    async def open_counts(self) -> Sequence[OpenCount]:
        """How many sagas are open, by definition, status and place."""
        ...

    async def groups(self) -> Groups | None: ...

    async def of_definition(self, saga: Saga) -> DefinitionFigures | None: ...
