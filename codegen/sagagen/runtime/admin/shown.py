"""Sagas as JSON members, without their payloads."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.clock import rfc3339, rfc3339_or_none
from sagagen.runtime.engine.port import Leaving, RecordedSaga
from sagagen.runtime.saga.commands import Offer
from sagagen.runtime.saga.events import OperatorRow
from sagagen.runtime.saga.explain import Explanation
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.search import UnreadableSaga
from sagagen.runtime.saga.view import StepView

UNREADABLE = "UNREADABLE"
"""Shown instead of a status."""
Shown = dict[str, Any]
"""JSON members."""


def events_shown(history: History) -> Iterator[Shown]:
    for number, event in enumerate(history.events):
        yield {
            "at": rfc3339(event.at_ms),
            "event": event.event,
            "caller": event.caller,
            "step": history.used.get(number),
        }


def step_shown(step: StepView) -> Shown:
    return {
        "name": step.name,
        "path": list(step.path),
        "status": str(step.status),
        "action": None if step.action is None else str(step.action),
        "attempts": step.attempts,
        "compensation_attempts": step.compensation_attempts,
        "error": step.error or None,
        "event": step.event or None,
        "since": rfc3339_or_none(step.since_ms),
        "until": rfc3339_or_none(step.until_ms),
    }


def offer_shown(offer: Offer) -> Shown:
    outcome = None if offer.outcome is None else offer.outcome.lower()
    return {"act": str(offer.act), "step": offer.step or None, "as": outcome}


def saga_shown(history: History, waiting_for: str, explanation: Explanation) -> Shown:
    accepted = history.accepted
    return {
        "id": accepted.saga_id,
        "saga": accepted.saga,
        "version": accepted.version,
        "status": str(history.status),
        "age_s": age_s(accepted.at_ms),
        "created_at": rfc3339(accepted.at_ms),
        "updated_at": rfc3339(history.updated_ms),
        "step": explanation.step or None,
        "service": explanation.service or None,
        "under_way": list(explanation.under_way),
        "waiting_for": waiting_for or None,
        "explanation": explanation.text,
        "until": rfc3339_or_none(explanation.until_ms),
        "then": explanation.then or None,
        "next_attempt_by": rfc3339_or_none(explanation.next_by_ms),
        "error": explanation.error or None,
    }


def as_unreadable(recorded: RecordedSaga, error: Exception) -> UnreadableSaga:
    accepted = recorded.accepted
    why = f"saga {accepted.saga_id} can't be shown: {type(error).__name__}: {error}"
    return UnreadableSaga(
        saga_id=accepted.saga_id,
        saga=accepted.saga,
        version=accepted.version,
        status="recorded",
        started_ms=accepted.at_ms,
        why=why,
        cursor=recorded.cursor,
    )


def unreadable_shown(saga: UnreadableSaga) -> Shown:
    """With the members of a saga that can be read."""
    return {
        **dict.fromkeys(("updated_at", "step", "service", "waiting_for", "until", "then", "next_attempt_by")),
        "under_way": [],
        "id": saga.saga_id,
        "saga": saga.saga,
        "version": saga.version,
        "status": UNREADABLE,
        "age_s": age_s(saga.started_ms),
        "created_at": rfc3339(saga.started_ms),
        "explanation": f"It was {saga.status}. It is left as it is, and all others go on.",
        "error": saga.why,
    }


def operator_shown(row: OperatorRow) -> Mapping[str, object]:
    return {
        "at": rfc3339(row.at_ms),
        "act": row.did,
        "step": getattr(row, "step", "") or None,
        "by": row.by or None,
        "note": row.note or None,
    }


def age_s(since_ms: int | None) -> float | None:
    return None if since_ms is None else max(0.0, round(time.time() - since_ms / 1000, 3))


def entry_shown(entry: AuditEntry) -> Shown:
    return {
        "id": entry.id,
        "at": rfc3339(entry.at_ms),
        "by": entry.by or None,
        "did": entry.did,
        "saga_id": entry.saga_id or None,
        "result": str(entry.result),
        "reason": entry.reason or None,
        "order_id": entry.order_id or None,
        "scheme": entry.scheme or None,
        "address": entry.address or None,
        "trace_id": entry.trace_id or None,
        "count": entry.count,
    }


def leaving_shown(leaving: Leaving) -> Shown:
    return {
        "engine": leaving.name,
        "can_go": leaving.can_go,
        "unfinished": leaving.open,
        "keys_until": rfc3339_or_none(leaving.keys_until_ms),
        "says": str(leaving),
    }
