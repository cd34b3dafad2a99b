"""What becomes of sagas, told on a terminal: a line for each outcome.

It hangs on what the engine has at hand: attempts as they end, and the rows that a driver has written.
A call that keeps failing in the same way is told once with its error; then how often it did, now and then.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from grpclib.const import Status as Code

from sagagen.runtime.escaping import escaped
from sagagen.runtime.model.definition import Direction, Saga
from sagagen.runtime.rpc.claim import CLAIM
from sagagen.runtime.saga.events import (
    START,
    Accepted,
    Cancelled,
    Compensated,
    Done,
    DoneByHand,
    Ended,
    Failed,
    GaveUp,
    Held,
    LogEvent,
    Outcome,
    RefusedByHand,
    Resolved,
    Retried,
    SagaStatus,
    Skipped,
    Stuck,
    TimedOut,
    TimeUp,
)
from sagagen.runtime.saga.history import CallKey, History
from sagagen.runtime.telemetry.console import SHORT_ID, Console, clock, folded, short_id

AGAIN_S = 5.0
"""How long a call that fails as before goes untold, in seconds."""
_LONGEST = 28
"""Characters of a name; what is longer pushes the rest to the right."""
_LONGEST_ERROR = 400
_LONGEST_STATUS = max(map(len, SagaStatus))
_KEY = len("[of an item]")
_RESULT = 8
_TOOK = 9
_GAPS = 2 * 5
_TIME = 8
_SHORTEST = 6

_COLOURS = {
    SagaStatus.COMPLETED: "green",
    SagaStatus.COMPENSATED: "yellow",
    SagaStatus.STUCK: "red",
}


@dataclass(slots=True)
class _Failing:
    """A call that failed, and may fail again."""

    error: str
    times: int
    told_s: float
    """When, by the monotonic clock."""


class Narrator:
    """Tells on a console what becomes of the sagas of one engine."""

    def __init__(self, console: Console, sagas: Sequence[Saga]) -> None:
        self._console = console
        self._saga_width = max((len(saga.name) for saga in sagas), default=0)
        widths = [len(step.name) + (_KEY if step.for_each else 0) for saga in sagas for step in saga.calls]
        self._step_width = min(max([_LONGEST_STATUS, *widths]), _LONGEST)
        self._step_room = 2 * _LONGEST
        """Characters for a step with an item's key."""
        self._second = 0
        self._clock = ""
        self._columns = 0
        self._names: dict[str, str] = {}
        """Of sagas, as wide as their column."""
        self._steps: dict[str, str] = {}
        """Names of the contract's elements, as wide as their column."""
        self._failing: dict[str, dict[CallKey, _Failing]] = {}
        """Calls that failed when they were made last, by saga."""

    def tell_attempt(self, accepted: Accepted, row: Done | Failed | Compensated, took_s: float) -> None:
        """A call has ended."""
        if isinstance(row, Failed):
            self._tell_failure(accepted, row, took_s)
            return
        is_done = isinstance(row, Done)
        again = ""
        if self._failing:
            direction = Direction.ACTION if is_done else Direction.COMPENSATION
            again = self._forget(accepted.saga_id, (row.step, direction))
        if row.step == CLAIM:  # says nothing of what the saga is for
            return
        result = "done    " if is_done else "undone  "
        self._console.tell(f"{self._head(accepted, row.step)}  {result}  {_took(took_s)}{again}")

    def tell_rows(self, saga: Saga, history: History, rows: Sequence[LogEvent]) -> None:
        """These rows of a saga are written; `history` has them."""
        for row in rows:
            if isinstance(row, Done) and row.attempt:
                continue  # the most frequent row by far
            match row:
                case Ended():
                    self._tell_end(history.accepted, row)
                case Failed(event=None) | Compensated() | Accepted() | Stuck():
                    pass  # told as an attempt; what is stuck has a log line
                case _:
                    self._tell_other(saga, history, row)

    def _tell_end(self, accepted: Accepted, row: Ended) -> None:
        self._failing.pop(accepted.saga_id, None)
        status = self._console.paint(row.status.ljust(self._step_width), _COLOURS.get(row.status, "bold"))
        took_s = (row.at_ms - accepted.started_ms) / 1000
        self._console.tell(f"{self._head(accepted, '', status)}  {' ' * _RESULT}  {_took(took_s)}")

    def _tell_other(self, saga: Saga, history: History, row: LogEvent) -> None:
        """What makes no call: waits, delays, and what operators and clients did."""
        accepted = history.accepted
        match row:
            case Done(step=step):
                self._tell_wait(history, row, step, "begins" if step == START else "done")
            case TimedOut(step=step):
                self._tell_wait(history, row, step, "silent", "yellow")
            case Failed(step=step, event=int()):
                self._tell_wait(history, row, step, "refused", "yellow", _error(row))
            case Skipped(step=step):
                self._tell(accepted, step, "skipped", "dim")
            case TimeUp(step=step):
                self._tell(accepted, step, "gives up", "red")
            case GaveUp(step=step):
                self._tell(accepted, step, "given up", "red", row.failure.message)
            case Cancelled():
                self._tell(accepted, "", "cancelled", "yellow", row.reason or row.note)
            case Retried(step=step) | Held(step=step) | Resolved(step=step):
                self._tell(accepted, step, row.did, "cyan", row.note)
            case DoneByHand(step=step) | RefusedByHand(step=step):
                self._tell(accepted, step, "resolved", "cyan", row.note)
            case _:
                pass

    def _tell_wait(
        self, history: History, row: LogEvent, step: str, result: str, colour: str = "", error: str = ""
    ) -> None:
        accepted = history.accepted
        begun_ms = accepted.at_ms if step == START else history.since.get(step, row.at_ms)
        name = "" if step == START else step
        self._tell(accepted, name, result, colour, error, took_s=max(0, row.at_ms - begun_ms) / 1000)

    def _tell_failure(self, accepted: Accepted, row: Failed, took_s: float) -> None:
        error, now_s = _error(row), time.monotonic()
        calls = self._failing.setdefault(accepted.saga_id, {})
        key = (row.step, row.direction)
        known = calls.get(key)
        times = 1
        if known and known.error == error:
            times = known.times = known.times + 1
            if now_s - known.told_s < AGAIN_S:
                return
            known.told_s = now_s
        else:
            calls[key] = _Failing(error, 1, now_s)
        is_refused = row.outcome is Outcome.REFUSED
        result, colour = ("refused", "yellow") if is_refused else ("failed", "red")
        if row.direction is Direction.COMPENSATION:
            result = "not undone"
        if times > 1:
            self._tell(accepted, row.step, result, colour, f"x{times}", took_s=took_s)
        else:
            self._tell(accepted, row.step, result, colour, error, took_s=took_s)

    def _forget(self, saga_id: str, key: CallKey) -> str:
        """It has succeeded. What the line says of it."""
        known = self._failing.get(saga_id, {}).pop(key, None)
        return f"  after {known.times} failed" if known else ""

    def _tell(
        self,
        accepted: Accepted,
        step: str,
        result: str,
        colour: str = "",
        error: str = "",
        took_s: float | None = None,
    ) -> None:
        took = " " * _TOOK if took_s is None else _took(took_s)
        head = self._head(accepted, step)
        used = len(head) + 2 + max(_RESULT, len(result)) + 2 + _TOOK
        errors = [_cut(escaped(error), _LONGEST_ERROR)] if error else []
        more = folded(errors, self._columns, used)
        painted = self._console.paint(f"{result:{_RESULT}}", *filter(None, [colour]))
        line = f"{head}  {painted}  {took}"
        self._console.tell(f"{line if more.startswith(' ') else line.rstrip()}{more}")

    def _head(self, accepted: Accepted, step: str, status: str = "") -> str:
        now = int(time.time())
        if now != self._second:
            self._look(now)
        name = self._names.get(accepted.saga) or self._name(accepted.saga)
        at = status or self._steps.get(step) or self._step(step)
        return f"{self._clock}  {name}  {short_id(accepted.saga_id)}  {at}"

    def _step(self, step: str) -> str:
        """As wide as its column."""
        if step[-1:] == "]":  # with the key of an item, which somebody chose
            return _cut(escaped(step), self._step_room).ljust(self._step_width)
        shown = self._steps[step] = step.ljust(self._step_width)
        return shown

    def _look(self, now: int) -> None:
        """Once a second: what time it is, and how wide the terminal."""
        self._second, self._clock = now, clock()
        columns = self._console.columns
        if columns != self._columns:
            self._columns = columns
            self._names.clear()
            others = _TIME + min(self._saga_width, _LONGEST) + SHORT_ID + _RESULT + _TOOK + _GAPS
            self._step_room = max(self._step_width, min(2 * _LONGEST, columns - others if columns else 999))

    def _name(self, saga: str) -> str:
        """The saga's name, shortened where the terminal is too narrow for a line."""
        width = min(self._saga_width, _LONGEST)
        if self._columns:
            others = _TIME + SHORT_ID + self._step_width + _RESULT + _TOOK + _GAPS
            width = max(_SHORTEST, min(width, self._columns - others))
        name = self._names[saga] = _cut(saga, width).ljust(width)
        return name


def _error(row: Failed) -> str:
    """What a failed call says, as it says it."""
    if row.outcome is Outcome.REFUSED or row.reason:
        text = ": ".join(part for part in (row.reason, row.message) if part)
    elif row.code in (Code.INTERNAL, Code.UNKNOWN):
        text = row.message
    else:
        text = ": ".join(part for part in (row.code.name, row.message) if part)
    return text or row.code.name


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _took(seconds: float) -> str:
    if seconds < 10:
        ms = seconds * 1000
        return f"{ms:6.1f} ms" if ms < 10 else f"{int(ms):6} ms"
    if seconds < 600:
        return f"{seconds:7.1f} s"
    return f"{seconds / 60:5.0f} min"
