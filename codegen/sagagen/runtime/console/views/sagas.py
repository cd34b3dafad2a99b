"""*Sagas*: which there are, by filters of the URL, page by page; and what keeps many of them, in groups."""

from collections.abc import Mapping, Sequence
from typing import Any

from sagagen.runtime.admin.figures_shown import groups_shown
from sagagen.runtime.admin.shown import Shown
from sagagen.runtime.console.filters import OPTIONS, Filters
from sagagen.runtime.console.page import Page, View, Visit
from sagagen.runtime.saga.events import SagaStatus

PAGE = 50
"""Sagas on a page."""
MOST_COLUMNS = 4
"""Index columns that a table has room for."""
STATUSES = ("", "STUCK", "RUNNING", "COMPENSATING", "COMPLETED", "COMPENSATED", "ALL")


async def look(visit: Visit) -> Page:
    filters = Filters.of(visit.asked)
    found = await sagas_of(visit, filters.asked(before=visit.asked.get("before", ""), limit=str(PAGE)))
    definitions = visit.desk.operations.definitions
    values = {
        "sagas": found["sagas"],
        "columns": _columns(found["sagas"]),
        "next": visit.here(before=found["next"]) if found["next"] else "",
        "first": visit.here(before=None) if "before" in visit.asked else "",
        "given": dict.fromkeys(OPTIONS, "") | dict(filters.given),
        "more": [name for name in filters.given if name not in ("status", "text", "saga")],
        "tabs": [_tab(visit, status) for status in STATUSES],
        "names": definitions.names,
        "index_names": definitions.index_names,
        "events": definitions.events,
        "services": [service.name for service in visit.desk.mesh.services],
        "group": visit.path("/group", **filters.given) if filters.given and found["sagas"] else "",
        "has_no_option": filters.has_no_option,
        **await _groups(visit, filters),
    }
    return Page("Sagas", values, f"sagagen sagas list{filters.options}")


async def sagas_of(visit: Visit, asked: Mapping[str, str]) -> Shown:
    """A page. Who looks for values of payloads is kept, once: an open page that looks again says nothing new."""
    if visit.is_again:
        return await visit.desk.operations.page(asked)
    return await visit.desk.orders.page(visit.deed, asked)


def _columns(sagas: Sequence[Shown]) -> Sequence[str]:
    return list(dict.fromkeys(name for saga in sagas for name in saga.get("index") or ()))[:MOST_COLUMNS]


def _tab(visit: Visit, status: str) -> Mapping[str, Any]:
    words = {"": "Open", "ALL": "All"}.get(status) or SagaStatus(status).capitalize()
    is_here = visit.asked.get("status", "").upper() == status
    return {"words": words, "path": visit.here(status=status, before=None), "is_here": is_here}


async def _groups(visit: Visit, filters: Filters) -> Mapping[str, Any]:
    """Only where nothing narrower is asked for: groups are of all sagas."""
    if filters.given.keys() - {"status", "saga"} or "before" in visit.asked:
        return {"groups": (), "groups_known": True, "is_whole": True, "looked_at": 0}
    found = groups_shown(await visit.desk.operations.figures.groups())
    wanted = filters.given.get("status", "").upper()
    groups = [
        {**group, "path": visit.path("/group", **group["query"])}
        for group in found["groups"] or ()
        if wanted in ("", "ALL", group["status"]) and filters.given.get("saga", "") in ("", group["saga"])
    ]
    return {
        "groups": groups,
        "groups_known": found["groups"] is not None,
        "is_whole": found["is_whole"],
        "looked_at": found["looked_at"],
    }


VIEW = View("sagas", "Sagas", "/sagas", look)
