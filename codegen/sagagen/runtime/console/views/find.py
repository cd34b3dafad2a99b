"""Leads from an id, or the beginning of one, to its saga."""

from starlette.responses import RedirectResponse, Response

from sagagen.runtime.console.page import View, Visit


async def look(visit: Visit) -> Response:
    wanted = visit.asked.get("id", "").strip()
    return RedirectResponse(visit.saga_path(wanted) if wanted else visit.path("/sagas"), 303)


VIEW = View("find", "Find", "/find", look, is_listed=False, is_live=False)
