"""What happened to a saga, row by row, in words and without payloads."""

from collections.abc import Iterator, Sequence

from sagagen.runtime.admin.shown import Shown
from sagagen.runtime.clock import rfc3339
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.claim import CLAIM
from sagagen.runtime.saga.events import (
    START,
    Accepted,
    Cancelled,
    Compensated,
    Done,
    Ended,
    EventTaken,
    Failed,
    GaveUp,
    LogEvent,
    LoopPlanned,
    OperatorRow,
    Outcome,
    PassedOver,
    Planned,
    Resumed,
    Skipped,
    Stuck,
    TimedOut,
    TimeUp,
    TurnedBack,
)


def history_shown(rows: Sequence[LogEvent]) -> Iterator[Shown]:
    """Each row that says something to a person: `at`, `what` (a few words), `step`, `attempt`, `why` and `by`."""
    for row in rows:
        told = _told(row)
        if told:
            yield {
                "at": rfc3339(row.at_ms),
                **dict.fromkeys(("step", "attempt", "why", "by")),
                **{name: value or None for name, value in told.items()},
            }


def _told(row: LogEvent) -> Shown | None:
    match row:
        case Accepted():
            return {"what": "accepted", "why": f"version {row.version}", "by": row.caller}
        case Planned():
            return None  # follows from the row before, and the call that it names is told by its outcome
        case LoopPlanned():
            return {"what": "begins a loop", "step": row.step, "why": f"{len(row.keys)} items"}
        case Skipped():
            return {"what": "skipped", "step": row.step, "why": "its condition is false"}
        case Done():
            return _done(row)
        case Failed():
            return _failed(row)
        case TimedOut():
            return {"what": "got no event in time", "step": row.step}
        case EventTaken():
            return {"what": f"got the event {row.event}", "by": row.caller}
        case TimeUp():
            return {"what": "has no time left", "step": _named(row.step)}
        case TurnedBack():
            why = ": ".join(part for part in (row.failure.reason, row.failure.message) if part)
            return {"what": "turned back", "step": _named(row.failure.step), "why": why}
        case Compensated():
            return {"what": "undone", "step": row.step, "attempt": row.attempt}
        case PassedOver():
            return {"what": "left as it is", "step": row.step, "why": row.message}
        case Ended():
            return {"what": f"ended {row.status}"}
        case Stuck():
            why = ": ".join(part for part in (row.failure.reason, row.failure.message) if part)
            return {"what": "stuck", "step": _named(row.failure.step), "why": why}
        case Resumed():
            return {"what": "taken up again", "why": "what had no outcome is in doubt"}
        case OperatorRow():
            return _by_operator(row)
        case _:
            return {"what": type(row).__name__}


def _done(row: Done) -> Shown:
    if row.step == START:
        return {"what": "begins"}
    if row.step == CLAIM:
        return {"what": "claimed its id"}
    return {"what": "done" if row.attempt else "over", "step": row.step, "attempt": row.attempt}


def _failed(row: Failed) -> Shown:
    undoing = row.direction is Direction.COMPENSATION
    match row.outcome:
        case Outcome.REFUSED:
            what = "refused"
        case Outcome.NOT_CALLED:
            what = "not called"
        case _:
            what = "failed"
    return {
        "what": f"undoing {what}" if undoing else what,
        "step": _named(row.step),
        "attempt": row.attempt,
        "why": str(row),
    }


def _by_operator(row: OperatorRow) -> Shown:
    why = row.note
    if isinstance(row, GaveUp):
        why = why or ": ".join(part for part in (row.failure.reason, row.failure.message) if part)
        step = row.failure.step
    elif isinstance(row, Cancelled):
        step, why = "", why or row.reason
    else:
        step = getattr(row, "step", "")
    by = row.by or (row.caller if isinstance(row, Cancelled) else "")
    return {"what": row.did.replace("_", " "), "step": _named(step), "why": why, "by": by}


def _named(step: str) -> str:
    """Keys that stand for no step of the contract are no names."""
    return "" if step.startswith("~") else step
