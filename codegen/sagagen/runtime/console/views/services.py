"""*Services*."""

from sagagen.runtime.console.page import Page, View, Visit


async def look(visit: Visit) -> Page:
    return Page("Services")


VIEW = View("services", "Services", "/services", look)
