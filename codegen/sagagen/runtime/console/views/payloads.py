"""*Payloads* of one saga. That they were read is kept before they are shown."""

from sagagen.runtime.console.page import Page, View, Visit


async def look(visit: Visit) -> Page:
    return Page("Payloads")


VIEW = View(
    "payloads",
    "Payloads",
    "/sagas/{id}/payloads",
    look,
    is_listed=False,
    is_live=False,
    is_for_operators=True,
)
