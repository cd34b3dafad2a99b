"""Orders that wait for a second person."""

from starlette.responses import RedirectResponse, Response

from sagagen.runtime.admin.orders import order_shown
from sagagen.runtime.console.page import Form, Given, Page, View, Visit


async def look(visit: Visit) -> Page:
    orders = [order_shown(order) for order in await visit.desk.orders.pending()]
    said = {"confirmed": "The order was carried out.", "withdrawn": "The order was withdrawn."}
    return Page(
        "Waiting orders",
        {"orders": orders, "said": said.get(visit.asked.get("did", ""), "")},
        "sagagen sagas orders",
    )


async def look_at_one(visit: Visit) -> Page:
    """With its payload, which whoever confirms it has to see: so that it was looked at is kept."""
    order = await visit.desk.orders.show_pending(visit.deed)
    return Page(f"Order {order['id']}", {"order": order})


async def confirm(visit: Visit, given: Given) -> Response:
    visit.deed.by = visit.admitted.by or given.get("by", "").strip()
    shown = await visit.desk.orders.confirm(visit.deed)
    return RedirectResponse(visit.saga_path(shown["id"]), 303)


async def withdraw(visit: Visit, given: Given) -> Response:
    visit.deed.by = visit.admitted.by or given.get("by", "").strip()
    await visit.desk.orders.withdraw(visit.deed)
    return RedirectResponse(visit.path("/orders", did="withdrawn"), 303)


VIEW = View("orders_waiting", "Waiting orders", "/orders", look, is_listed=False)
ONE = View(
    "order", "Order", "/orders/{order}", look_at_one, is_listed=False, is_live=False, is_for_operators=True
)
FORMS = (
    Form("/orders/{order}/confirm", "confirm", confirm),
    Form("/orders/{order}/withdraw", "withdraw", withdraw),
)
