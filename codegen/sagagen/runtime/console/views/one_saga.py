"""*One saga*: where it is, what happened to it, and what an operator may do."""

from sagagen.runtime.console.page import Page, View, Visit


async def look(visit: Visit) -> Page:
    saga = await visit.desk.operations.show(visit.request.path_params["id"])
    return Page(saga["id"], {"saga": saga}, f"sagagen sagas show {saga['id']}")


VIEW = View("one_saga", "Saga", "/sagas/{id}", look, is_listed=False)
