"""*Definition*."""

from sagagen.runtime.console.page import Page, View, Visit


async def look(visit: Visit) -> Page:
    return Page("Definition")


VIEW = View("definition", "Definition", "/definition", look)
