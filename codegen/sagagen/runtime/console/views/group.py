"""Sagas that filters find, as one group: an order for all of them, after a dry run that lists what it will do.

Each saga is given the order on its own, as if it were the only one, and each has its line of the audit. What was listed
is what is done: a saga that came later is not meant, and one that has gone on refuses.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sagagen.runtime.admin.deed import Deed
from sagagen.runtime.admin.orders import UnknownOrder
from sagagen.runtime.admin.parsing import BadOrder
from sagagen.runtime.admin.routes import signed
from sagagen.runtime.admin.words import DOES
from sagagen.runtime.audit.trail import PendingOrder, TooManyPending
from sagagen.runtime.console.filters import Filters
from sagagen.runtime.console.page import Form, Given, Page, View, Visit
from sagagen.runtime.console.views.sagas import sagas_of
from sagagen.runtime.saga.commands import BOUND, AmbiguousSaga, CommandRejected, UnknownSaga
from sagagen.runtime.saga.journal import JournalUnavailable

MOST = 500
"""Sagas that one order is given to. Those that are left are found again by the same filters."""
AT_ONCE = 8
_REFUSALS = (
    AmbiguousSaga,
    BadOrder,
    CommandRejected,
    JournalUnavailable,
    TooManyPending,
    UnknownOrder,
    UnknownSaga,
)
_Kind = tuple[str, str]
"""An act, and `as` of its outcome; empty for none."""


async def look(visit: Visit) -> Page:
    filters = Filters.of(visit.asked)
    if not filters.given:
        raise BadOrder("a group is what filters find: come here from a list of sagas that has some")
    found = await sagas_of(visit, filters.asked(limit=str(MOST)))
    sagas: Sequence[Mapping[str, Any]] = found["sagas"]
    kinds = _kinds(sagas)
    wished = (visit.asked.get("act", ""), visit.asked.get("as", ""))
    meant = [saga for saga in sagas if _offers(saga, wished)]
    values = {
        "filters": filters.given,
        "sagas": sagas,
        "kinds": [_kind_shown(visit, kind, count) for kind, count in kinds.items()],
        "is_more": bool(found["next"]),
        "most": MOST,
        "wished": _wish_shown(visit, wished, len(meant)) if wished[0] else None,
        "meant": meant,
        "list": visit.path("/sagas", **filters.given),
        "group": visit.path("/group", **filters.given),
    }
    if not wished[0]:
        return Page("A group of sagas", values, f"sagagen sagas list{filters.options}")
    return Page("Dry run", values, _line(filters, wished, sagas, is_dry_run=True))


def _offers(saga: Mapping[str, Any], kind: _Kind) -> Sequence[Mapping[str, Any]]:
    return [each for each in saga.get("commands") or () if (each["act"], each["as"] or "") == kind]


def _kinds(sagas: Sequence[Mapping[str, Any]]) -> Mapping[_Kind, int]:
    counts: Counter[_Kind] = Counter()
    for saga in sagas:
        counts.update({(each["act"], each["as"] or "") for each in saga.get("commands") or ()})
    return counts


def _kind_shown(visit: Visit, kind: _Kind, count: int) -> Mapping[str, Any]:
    act, outcome = kind
    return {
        "label": f"{act.capitalize()}{f' as {outcome}' if outcome else ''} {count}",
        "does": DOES[act, outcome or None].partition(";")[0].replace("step {step}", "the step"),
        "path": visit.here(act=act, **{"as": outcome}),
    }


def _wish_shown(visit: Visit, kind: _Kind, count: int) -> Mapping[str, Any]:
    act, outcome = kind
    if (act, outcome or None) not in DOES:
        raise BadOrder(f'there is no order "{act}"')
    return {
        "act": act,
        "as": outcome,
        "count": count,
        "words": f"{act}{f' as {outcome}' if outcome else ''}",
        "does": DOES[act, outcome or None].partition(";")[0].replace("step {step}", "the step"),
        "needs_note": act in BOUND,
        "needs_second": act in visit.desk.orders.four_eyes,
    }


def _line(filters: Filters, kind: _Kind, sagas: Sequence[Mapping[str, Any]], *, is_dry_run: bool) -> str:
    act, outcome = kind
    options = filters.options
    if act in BOUND and "step" not in filters.given:
        # The command line names the step that it vouches for; here each saga's own offer does.
        steps = {each["step"] for saga in sagas for each in _offers(saga, kind) if each["step"]}
        options += f" --step {min(steps)}" if len(steps) == 1 else ""
    options += f" --as {outcome}" if outcome else ""
    return f"sagagen sagas {act}{options}{' --dry-run' if is_dry_run else ''}"


async def take(visit: Visit, given: Given) -> Page:
    """Give the order to each saga that the dry run has listed."""
    kind = (given.get("act", ""), given.get("as", ""))
    ids = list(dict.fromkeys(given.get("ids", "").split()))
    if not ids or len(ids) > MOST:
        raise BadOrder(f"an order is for 1 to {MOST} sagas; this one names {len(ids)}")
    turns = asyncio.Semaphore(AT_ONCE)

    async def given_to(saga_id: str) -> Mapping[str, str]:
        async with turns:
            return await _give(visit, given, kind, saga_id)

    results = await asyncio.gather(*map(given_to, ids))
    values = {
        "results": results,
        "counts": Counter(result["result"] for result in results),
        "words": f"{kind[0]}{f' as {kind[1]}' if kind[1] else ''}",
        "list": visit.path("/sagas", **Filters.of(visit.asked).given),
    }
    return Page("What was done", values, template="group_done.html")


async def _give(visit: Visit, given: Given, kind: _Kind, saga_id: str) -> Mapping[str, str]:
    act, outcome = kind
    orders = visit.desk.orders
    deed = Deed(
        act, saga_id, by=visit.deed.by, scheme=visit.deed.scheme, address=visit.deed.address, is_order=True
    )
    try:
        async with orders.audited(deed):
            saga = await orders.operations.show(saga_id)
            step = next((each["step"] or "" for each in _offers(saga, kind)), "")
            members = {
                "act": act,
                "step": step,
                "as": outcome,
                "note": given.get("note", ""),
                "by": given.get("by", ""),
            }
            wished = {name: text for name, text in members.items() if text and name != "act"}
            done = await orders.give(deed, signed(wished, visit.admitted))
    except _REFUSALS as error:
        return {"id": saga_id, "result": "refused", "why": str(error)}
    if isinstance(done, PendingOrder):
        return {"id": saga_id, "result": "waits for a second person", "why": ""}
    return {"id": saga_id, "result": "done", "why": str(done["status"])}


VIEW = View("group", "Group", "/group", look, is_listed=False, is_live=False)
FORMS = (Form("/group", "group", take),)
