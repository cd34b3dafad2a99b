"""*One saga*: where it is, what happened to it, and what an operator may do."""

import json
import math
import shlex
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.responses import RedirectResponse, Response

from sagagen.runtime.admin.history_shown import history_shown
from sagagen.runtime.admin.parsing import BadOrder
from sagagen.runtime.admin.routes import signed
from sagagen.runtime.audit.trail import PendingOrder
from sagagen.runtime.console.offers import offer_forms
from sagagen.runtime.console.page import Form, Given, Page, View, Visit
from sagagen.runtime.console.timeline import timeline
from sagagen.runtime.saga.history import fold
from sagagen.runtime.saga.view import view_of

SAID = {
    "retry": "It is tried again.",
    "resolve": "The step counts as settled.",
    "skip": "The saga goes on without the step.",
    "cancel": "The saga turns back.",
    "hold": "Nothing is repeated for now.",
    "send": "The event was taken.",
}


async def look(visit: Visit) -> Page:
    operations, options = visit.desk.operations, visit.options
    recorded = await operations.find(visit.request.path_params["id"])
    saga = operations.shown(recorded)
    history, definition = fold(recorded.rows), operations.definitions.of(recorded.accepted)
    steps = view_of(history, definition).steps
    next_by = saga["next_attempt_by"]
    next_by_ms = round(datetime.fromisoformat(next_by).timestamp() * 1000) if next_by else None
    now_ms = _now_in_leaps_ms(recorded.rows[-1].at_ms)
    values: dict[str, Any] = {
        "saga": saga,
        "line": timeline(recorded.rows, definition, steps, now_ms, next_by_ms),
        "rows": list(history_shown(recorded.rows)),
        "offers": offer_forms(saga["id"], saga["commands"], options, visit.desk.orders.four_eyes),
        "waits": [
            {"event": step["event"], "line": _send_line(saga["id"], step["event"], options)}
            for step in saga["steps"]
            if step["event"]
        ],
        "pending": [order for order in await visit.desk.orders.pending() if order.saga_id == saga["id"]],
        "said": SAID.get(visit.asked.get("did", ""), ""),
        "asked_second": visit.asked.get("asks", "") in SAID,
    }
    return Page(saga["id"], values, f"sagagen explain {saga['id']}")


def _now_in_leaps_ms(last_ms: int) -> int:
    """Somewhat later than now: a line is not drawn again because a second has passed, but when twice the time has."""
    gone_ms = max(1, time.time_ns() // 1_000_000 - last_ms)
    return last_ms + 2 ** math.ceil(math.log2(gone_ms))


def _send_line(saga_id: str, event: str, options: str) -> str:
    return f"sagagen sagas send {shlex.join((saga_id, event, '{}'))}{options}"


async def take(visit: Visit, given: Given) -> Response:
    """Carry out what the form of an offer says, in the name of whoever sends it."""
    act = visit.request.path_params["act"]
    outcome = await visit.desk.orders.give(visit.deed, signed(_members(given), visit.admitted))
    what = "asks" if isinstance(outcome, PendingOrder) else "did"
    return RedirectResponse(f"{visit.saga_path(visit.deed.saga_id)}?{what}={act}", 303)


def _members(given: Given) -> Mapping[str, object]:
    members: dict[str, object] = {
        name: given[name]
        for name in ("note", "step", "as", "by", "event", "key")
        if given.get(name, "").strip()
    }
    for name in ("response", "payload"):
        if text := given.get(name, "").strip():
            try:
                members[name] = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise BadOrder(f"the {name} is no JSON: {error}") from error
    return members


VIEW = View("one_saga", "Saga", "/sagas/{id}", look, is_listed=False)
FORMS = (Form("/sagas/{id}/{act}", "", take),)
