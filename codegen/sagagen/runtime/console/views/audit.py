"""*Audit*."""

from sagagen.runtime.console.page import Page, View, Visit


async def look(visit: Visit) -> Page:
    return Page("Audit")


VIEW = View("audit", "Audit", "/audit", look)
