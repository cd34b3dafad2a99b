"""*Versions*."""

from sagagen.runtime.console.page import Page, View, Visit


async def look(visit: Visit) -> Page:
    return Page("Versions")


VIEW = View("versions", "Versions", "/versions", look)
