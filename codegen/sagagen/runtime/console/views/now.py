"""*Now*: how all sagas stand."""

from sagagen.runtime.console.page import Page, View, Visit


async def look(visit: Visit) -> Page:
    return Page("Now", {"stats": await visit.desk.operations.stats()}, "sagagen sagas stats")


VIEW = View("now", "Now", "/", look)
