"""*Audit*: who did what, to which saga, when, and why; who was refused; and what waits for a second person."""

import shlex
from collections.abc import Mapping
from typing import Any

from sagagen.runtime.admin.orders import order_shown
from sagagen.runtime.admin.parsing import BadOrder
from sagagen.runtime.audit.entry import Result
from sagagen.runtime.console.page import Page, View, Visit

SHOWN, AT_MOST = 100, 10_000
SINCE: Mapping[str, tuple[str, int]] = {
    "1h": ("last hour", 3600),
    "24h": ("last day", 86400),
    "7d": ("last week", 7 * 86400),
}
_REFUSALS = frozenset(str(result) for result in Result if result.is_refusal)


async def look(visit: Visit) -> Page:
    asked = visit.asked
    limit = _limit(asked)
    is_refused, since = asked.get("only") == "refused", asked.get("since", "")
    if since and since not in SINCE:
        raise BadOrder(f'"{since}" is no time here; there are: {", ".join(SINCE)}')
    query = {
        "saga": asked.get("id", ""),
        "by": asked.get("by", ""),
        "since_s": str(SINCE[since][1]) if since else "",
        # Of refusals the trail is not asked: as many are read as one answer may have.
        "limit": str(AT_MOST if is_refused else limit + 1),
    }
    found = await visit.desk.orders.audit({name: value for name, value in query.items() if value})
    if is_refused:
        found = [entry for entry in found if entry["result"] in _REFUSALS]
    return Page(
        "Audit",
        {
            "entries": found[:limit],
            "more": visit.here(limit=min(limit * 5, AT_MOST)) if len(found) > limit else "",
            "orders": [order_shown(order) for order in await visit.desk.orders.pending()],
            "times": [(name, words) for name, (words, _) in SINCE.items()],
            "asked": {name: asked.get(name, "") for name in ("id", "by", "since", "only")},
            "is_narrow": any(asked.get(name) for name in ("id", "by", "since", "only")),
        },
        _command(asked),
    )


def _limit(asked: Mapping[str, str]) -> int:
    text = asked.get("limit", str(SHOWN))
    if not text.isdecimal() or not 1 <= int(text) <= AT_MOST:
        raise BadOrder(f"limit is from 1 to {AT_MOST}")
    return int(text)


def _command(asked: Mapping[str, Any]) -> str:
    options = {"id": asked.get("id"), "--by": asked.get("by"), "--since": asked.get("since")}
    words = ["sagagen", "sagas", "audit"]
    for name, value in options.items():
        if value:
            words += [value] if name == "id" else [name, value]
    return shlex.join(words)


VIEW = View("audit", "Audit", "/audit", look)
