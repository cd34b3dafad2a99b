"""How the steps of a saga do, from the rows of some sagas. Pure; rows come without payloads, whatever kept them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sagagen.runtime.model.definition import Direction, Saga
from sagagen.runtime.saga.events import (
    Accepted,
    Compensated,
    Done,
    DoneByHand,
    Failed,
    GaveUp,
    LogEvent,
    NextRequest,
    Outcome,
    PassedOver,
    Planned,
    Resolved,
    SagaStatus,
    Skipped,
    TimedOut,
    TurnedBack,
)
from sagagen.runtime.saga.figures import CallFigures, StepCount
from sagagen.runtime.scope import step_name


class SeenRow(NamedTuple):
    """What is needed of a row. Texts are empty where the row has none."""

    at_ms: int
    kind: str
    """As the saga log calls it: DONE, FAILED, ..."""
    step: str = ""
    direction: str = ""
    attempt: int = 0
    outcome: str = ""
    plans: bool = False
    """It says what is sent next, or until when is waited."""
    next_step: str = ""
    """Key of the step that is planned; empty in a straight line: it is the one after."""


class SeenSaga(NamedTuple):
    status: SagaStatus
    is_resting: bool
    """It waits or is stuck, and the log counts it where it is."""
    rows: Sequence[SeenRow]


_KINDS: Mapping[type[LogEvent], str] = {
    Accepted: "ACCEPTED",
    Planned: "PLANNED",
    Done: "DONE",
    DoneByHand: "DONE_BY_HAND",
    Failed: "FAILED",
    TurnedBack: "TURNED_BACK",
    Compensated: "COMPENSATED",
    Resolved: "RESOLVED",
    PassedOver: "PASSED_OVER",
    Skipped: "SKIPPED",
    TimedOut: "TIMED_OUT",
    GaveUp: "GAVE_UP",
}
_FORWARD = frozenset({"DONE", "DONE_BY_HAND"})
_SETTLED = frozenset({"SKIPPED", "TIMED_OUT", "GAVE_UP"})
_UNDONE = frozenset({"COMPENSATED", "RESOLVED", "PASSED_OVER"})
KINDS = tuple(_KINDS.values())
"""Rows of other kinds are not needed."""


def seen_row(row: LogEvent) -> SeenRow | None:
    """None: it is not needed."""
    kind = _KINDS.get(type(row))
    if kind is None:
        return None
    following: NextRequest | None = getattr(row, "next", None)
    return SeenRow(
        row.at_ms,
        kind,
        getattr(row, "step", ""),
        str(getattr(row, "direction", "")),
        getattr(row, "attempt", 0),
        str(getattr(row, "outcome", "")),
        bool(following),
        following.step if following else "",
    )


@dataclass(slots=True)
class _Seen:
    """Calls of one step in one direction."""

    attempts: int = 0
    refused: int = 0
    failed: int = 0
    done: int = 0
    took_ms: list[int] = field(default_factory=list[int])

    def figures(self) -> CallFigures:
        took = sorted(self.took_ms)
        return CallFigures(self.attempts, self.refused, self.failed, self.done, _at(took, 50), _at(took, 99))


def _at(ordered: Sequence[int], percent: int) -> int | None:
    """The nearest-rank percentile."""
    return ordered[-(-percent * len(ordered) // 100) - 1] if ordered else None


class StepTally:
    """Takes one saga after the other, and says how the steps did."""

    def __init__(self, saga: Saga) -> None:
        self._saga = saga
        self._first = saga.calls[0].name if saga.is_line and saga.calls else ""
        self._calls: defaultdict[tuple[str, Direction], _Seen] = defaultdict(_Seen)
        self._at: Counter[tuple[str, Direction, SagaStatus]] = Counter()
        self.running = 0
        """Of the sagas so far: those that run, and neither wait nor are stuck."""

    def add(self, seen: SeenSaga) -> None:
        ready: dict[str, int] = {}
        done: list[str] = []
        settled: set[str] = set()
        back_ms: int | None = None
        for row in seen.rows:
            if row.plans:
                ready[row.next_step or self._after(row)] = row.at_ms
            if row.kind in _FORWARD:
                done.append(row.step)
                settled.add(row.step)
                self._count(row, Direction.ACTION, ready.get(row.step))
            elif row.kind == "FAILED":
                direction = Direction(row.direction)
                since = ready.get(row.step) if direction is Direction.ACTION else back_ms
                self._count(row, direction, since)
                if row.outcome == Outcome.REFUSED:
                    settled.add(row.step)
            elif row.kind in _SETTLED:
                settled.add(row.step)
            elif row.kind in _UNDONE:
                settled.add(f"undo {row.step}")
                if row.kind == "COMPENSATED" and row.attempt:
                    self._count(row, Direction.COMPENSATION, back_ms)
                back_ms = row.at_ms
            elif row.kind == "TURNED_BACK":
                back_ms = row.at_ms
        if seen.status.is_active and not seen.is_resting:
            self.running += 1
            self._place(seen.status, [key for key in ready if key not in settled], done, settled)

    def _after(self, row: SeenRow) -> str:
        if row.kind == "ACCEPTED":
            return self._first
        after = self._saga.following.get(row.step)
        return after.name if after else ""

    def _count(self, row: SeenRow, direction: Direction, since_ms: int | None) -> None:
        calls = self._calls[step_name(row.step), direction]
        calls.attempts += bool(row.attempt)
        if row.kind != "FAILED":
            calls.done += 1
        elif row.outcome == Outcome.REFUSED:
            calls.refused += 1
        else:
            calls.failed += 1
        if row.attempt <= 1 and since_ms is not None:
            calls.took_ms.append(row.at_ms - since_ms)

    def _place(
        self, status: SagaStatus, under_way: Sequence[str], done: Sequence[str], settled: set[str]
    ) -> None:
        if status is SagaStatus.RUNNING:
            for name in {step_name(key) for key in under_way}:
                self._at[name, Direction.ACTION, status] += 1
            return
        # What was done last is undone first.
        undoable = {step.name for step in self._saga.calls if step.compensation}
        left = [*done, *under_way]
        for key in reversed(left):
            if step_name(key) in undoable and f"undo {key}" not in settled:
                self._at[step_name(key), Direction.COMPENSATION, status] += 1
                return

    @property
    def calls(self) -> dict[tuple[str, Direction], CallFigures]:
        return {key: calls.figures() for key, calls in self._calls.items()}

    def at(self, resting: Iterable[StepCount]) -> Sequence[StepCount]:
        """Where open sagas are: `resting` are those that the log counts."""
        running = [StepCount(*place, count) for place, count in self._at.items()]
        return [*resting, *running]
