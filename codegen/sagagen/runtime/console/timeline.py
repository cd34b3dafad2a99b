"""One saga's calls on a line of time: what was tried, what was waited for, and below it how it was undone.

Times of a saga lie milliseconds and days apart. So the line is not to scale: between two moments something happened,
and the longer it took the more room it gets, by its logarithm. The log knows when an attempt had its outcome, and not
when it began; what lies between two outcomes is the pause and the attempt together.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sagagen.runtime.model.definition import Direction, Saga, StepKind, leaves
from sagagen.runtime.saga.events import (
    Accepted,
    Compensated,
    Done,
    DoneByHand,
    Failed,
    GaveUp,
    LogEvent,
    Outcome,
    PassedOver,
    Planned,
    RefusedByHand,
    Resolved,
    Skipped,
    Stuck,
    TimedOut,
    TurnedBack,
)
from sagagen.runtime.saga.view import StepStatus, StepView
from sagagen.runtime.scope import step_name

WIDTH = 1000
"""Of a line, in units of its own."""
_LEAST = 6
"""Units that a piece is wide, at least: what took no time is to be seen too."""

Tone = Literal["good", "bad", "back", "going", "calm"]
Shape = Literal["call", "again", "wait", "mark"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a line."""

    shape: Shape
    tone: Tone
    title: str
    from_ms: int
    to_ms: int
    x: int = 0
    width: int = 0


@dataclass(slots=True)
class Lane:
    """Calls of one step in one direction."""

    pieces: list[Piece] = field(default_factory=list[Piece])
    first_ms: int | None = None
    last_ms: int | None = None
    attempts: int = 0

    @property
    def took_ms(self) -> int | None:
        if self.first_ms is None or self.last_ms is None:
            return None
        return self.last_ms - self.first_ms


@dataclass(frozen=True, slots=True)
class StepLine:
    step: StepView
    name: str
    depth: int
    blocks: Sequence[str]
    """Names of blocks and branches that begin above it."""
    kind: StepKind | None
    service: str
    method: str
    undo_method: str
    did: Lane
    undid: Lane
    has_undo: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    lines: Sequence[StepLine]
    turned_x: int | None
    """Where the saga turned back."""


@dataclass(slots=True)
class _Lanes:
    """The lanes of all steps, while rows are read one after the other."""

    ready: dict[str, int] = field(default_factory=dict[str, int])
    lanes: dict[tuple[str, Direction], Lane] = field(default_factory=dict[tuple[str, Direction], Lane])
    undo_ms: int | None = None

    def lane(self, step: str, direction: Direction) -> Lane:
        return self.lanes.setdefault((step, direction), Lane())

    def add(
        self,
        step: str,
        direction: Direction,
        at_ms: int,
        tone: Tone,
        title: str,
        *,
        attempt: int,
        shape: Shape,
    ) -> None:
        """An outcome: the piece begins where the one before ended."""
        lane = self.lane(step, direction)
        ready = self.ready.get(step) if direction is Direction.ACTION else self.undo_ms
        begun_ms = lane.last_ms if lane.last_ms is not None else ready if ready is not None else at_ms
        lane.first_ms = begun_ms if lane.first_ms is None else lane.first_ms
        lane.pieces.append(Piece(shape, tone, title, begun_ms, at_ms))
        lane.last_ms, lane.attempts = at_ms, max(lane.attempts, attempt)


def timeline(
    rows: Sequence[LogEvent],
    saga: Saga | None,
    steps: Sequence[StepView],
    now_ms: int,
    next_by_ms: int | None = None,
) -> Timeline:
    """`steps` are those of the saga's view. An open saga's line goes on until now, or the next attempt."""
    lanes = _Lanes()
    turned_ms: int | None = None
    for row in rows:
        _read(row, lanes, saga)
        if isinstance(row, TurnedBack):
            turned_ms = row.at_ms
    for step in steps:
        _going_on(step, lanes, now_ms, next_by_ms)
    scale = _Scale([rows[0].at_ms, *(row.at_ms for row in rows), *_ends(lanes.lanes.values())])
    for lane in lanes.lanes.values():
        lane.pieces = [_placed(piece, scale) for piece in lane.pieces]
    return Timeline(
        tuple(_lines(steps, saga, lanes.lanes)),
        None if turned_ms is None else scale.x(turned_ms),
    )


def _ends(lanes: Iterable[Lane]) -> Iterable[int]:
    for lane in lanes:
        for piece in lane.pieces:
            yield piece.from_ms
            yield piece.to_ms


def _placed(piece: Piece, scale: "_Scale") -> Piece:
    x, end = scale.x(piece.from_ms), scale.x(piece.to_ms)
    width = max(_LEAST, end - x)
    x = min(x, WIDTH - width)
    return Piece(piece.shape, piece.tone, piece.title, piece.from_ms, piece.to_ms, x, width)


class _Scale:
    """From times to places: moments in their order, and between two of them room by the logarithm of their distance."""

    def __init__(self, moments: Iterable[int]) -> None:
        self._moments = sorted(set(moments))
        rooms = [
            math.log2(2 + after - before)
            for before, after in zip(self._moments, self._moments[1:], strict=False)
        ]
        total = sum(rooms) or 1.0
        self._places: dict[int, int] = {self._moments[0]: 0}
        gone = 0.0
        for moment, room in zip(self._moments[1:], rooms, strict=True):
            gone += room
            self._places[moment] = round(gone / total * WIDTH)

    def x(self, at_ms: int) -> int:
        return self._places.get(at_ms, WIDTH)


def _read(row: LogEvent, lanes: _Lanes, saga: Saga | None) -> None:
    match row:
        case Accepted():
            first = row.next.step or (saga.calls[0].name if saga and saga.is_line and saga.calls else "")
            lanes.ready[first] = row.at_ms
        case Planned():
            lanes.ready[row.next.step] = row.at_ms
        case Done() | DoneByHand():
            attempt = row.attempt if isinstance(row, Done) else 0
            by = (
                f"settled by {row.by or 'an operator'}"
                if isinstance(row, DoneByHand)
                else _done_words(row.attempt)
            )
            shape = "call" if attempt or isinstance(row, DoneByHand) else "wait"
            lanes.add(row.step, Direction.ACTION, row.at_ms, "good", by, attempt=attempt, shape=shape)
            _plan_next(row, lanes, saga)
        case Failed():
            is_refusal = row.outcome is Outcome.REFUSED
            words = f"attempt {row.attempt} {'was refused' if is_refusal else 'failed'}: {row}"
            lanes.add(row.step, row.direction, row.at_ms, "bad", words, attempt=row.attempt, shape="call")
        case Compensated():
            words = f"undone at attempt {row.attempt}" if row.attempt else "nothing to undo"
            lanes.add(
                row.step, Direction.COMPENSATION, row.at_ms, "back", words, attempt=row.attempt, shape="call"
            )
            lanes.undo_ms = row.at_ms
        case Resolved():
            words = f"settled by {row.by or 'an operator'}"
            lanes.add(row.step, Direction.COMPENSATION, row.at_ms, "back", words, attempt=0, shape="call")
            lanes.undo_ms = row.at_ms
        case PassedOver():
            lanes.add(
                row.step, Direction.COMPENSATION, row.at_ms, "calm", row.message, attempt=0, shape="mark"
            )
        case TimedOut():
            lanes.add(
                row.step,
                Direction.ACTION,
                row.at_ms,
                "back",
                "no event came in time",
                attempt=0,
                shape="wait",
            )
        case Skipped():
            lanes.add(
                row.step,
                Direction.ACTION,
                row.at_ms,
                "calm",
                "its condition is false",
                attempt=0,
                shape="mark",
            )
        case GaveUp():
            lanes.add(row.step, Direction.ACTION, row.at_ms, "bad", "was left out", attempt=0, shape="mark")
        case RefusedByHand():
            words = f"did not happen, says {row.by or 'an operator'}"
            lanes.add(row.step, Direction.ACTION, row.at_ms, "bad", words, attempt=0, shape="call")
        case Stuck():
            if row.failure.step:
                lanes.add(row.failure.step, row.direction, row.at_ms, "bad", "stuck", attempt=0, shape="mark")
        case TurnedBack():
            lanes.undo_ms = row.at_ms
        case _:
            pass


def _done_words(attempt: int) -> str:
    return f"done at attempt {attempt}" if attempt else "over"


def _plan_next(row: Done | DoneByHand, lanes: _Lanes, saga: Saga | None) -> None:
    after = saga.following.get(row.step) if saga and not row.next.step else None
    if step := row.next.step or (after.name if after else ""):
        lanes.ready[step] = row.at_ms


def _going_on(step: StepView, lanes: _Lanes, now_ms: int, next_by_ms: int | None) -> None:
    """What is not over yet: until now, and until the next attempt."""
    direction = Direction.COMPENSATION if step.status is StepStatus.COMPENSATING else Direction.ACTION
    if step.status is StepStatus.WAITING:
        since_ms = step.since_ms if step.since_ms is not None else lanes.ready.get(step.name, now_ms)
        words = f"waits for {step.event}" if step.event else "waits for time to pass"
        lane = lanes.lane(step.name, direction)
        lane.pieces.append(Piece("wait", "going", words, since_ms, max(now_ms, since_ms)))
    elif step.status in (StepStatus.RUNNING, StepStatus.COMPENSATING):
        lane = lanes.lane(step.name, direction)
        ready_ms = lanes.undo_ms if direction is Direction.COMPENSATION else lanes.ready.get(step.name)
        since_ms = lane.last_ms if lane.last_ms is not None else ready_ms
        if since_ms is None:
            return
        lane.pieces.append(Piece("again", "going", "under way", since_ms, max(now_ms, since_ms)))
        if next_by_ms is not None and next_by_ms > now_ms and lane.attempts:
            lane.pieces.append(Piece("again", "calm", "the next attempt begins by then", now_ms, next_by_ms))


def _lines(
    steps: Sequence[StepView], saga: Saga | None, lanes: Mapping[tuple[str, Direction], Lane]
) -> Iterable[StepLine]:
    calls = {step.name: step for step in saga.calls} if saga else {}
    kinds = {element.name: element.kind for element in leaves(saga.steps)} if saga else {}
    shown: Sequence[str] = ()
    for step in steps:
        known = next(
            (n for n, (a, b) in enumerate(zip(shown, step.path, strict=False)) if a != b), len(shown)
        )
        blocks, shown = step.path[min(known, len(step.path)) :], step.path
        plain = step_name(step.name)
        call = calls.get(plain)
        undid = lanes.get((step.name, Direction.COMPENSATION), Lane())
        compensation = call.compensation if call else None
        yield StepLine(
            step=step,
            name=step.name,
            depth=len(step.path),
            blocks=blocks,
            kind=kinds.get(plain),
            service=call.action.service if call else "",
            method=call.action.method.path.rpartition("/")[2] if call else "",
            undo_method=compensation.method.path.rpartition("/")[2] if compensation else "",
            did=lanes.get((step.name, Direction.ACTION), Lane()),
            undid=undid,
            has_undo=bool(undid.pieces),
        )
