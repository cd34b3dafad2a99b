"""Orders that wait for a second person."""

from sagagen.runtime.admin.orders import order_shown
from sagagen.runtime.console.page import Page, View, Visit


async def look(visit: Visit) -> Page:
    orders = [order_shown(order) for order in await visit.desk.orders.pending()]
    return Page("Waiting orders", {"orders": orders}, "sagagen sagas orders")


VIEW = View("orders_waiting", "Waiting orders", "/orders", look, is_listed=False)
