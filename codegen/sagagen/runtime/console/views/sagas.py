"""*Sagas*: which there are, by filters of the URL."""

from sagagen.runtime.console.page import Page, View, Visit


async def look(visit: Visit) -> Page:
    found = await visit.desk.orders.find(visit.deed, visit.asked)
    return Page("Sagas", {"sagas": found}, "sagagen sagas list")


VIEW = View("sagas", "Sagas", "/sagas", look)
