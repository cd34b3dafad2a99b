"""Service `restaurant`: tickets on the tablet."""

from generated.pb.delivery.restaurant.v1 import (
    OpenTicketRequest,
    OpenTicketResponse,
    WithdrawTicketRequest,
    WithdrawTicketResponse,
)
from generated.services.restaurant import RestaurantHandlers
from sagagen.runtime import Call


class RestaurantService(RestaurantHandlers):
    async def open_ticket(self, request: OpenTicketRequest, call: Call) -> OpenTicketResponse:
        await call.db.execute(
            "INSERT INTO tickets (order_id, restaurant_id, status) VALUES (?, ?, 'OPEN')",
            (request.order_id, request.restaurant_id),
        )
        return OpenTicketResponse()

    async def withdraw_ticket(self, request: WithdrawTicketRequest, call: Call) -> WithdrawTicketResponse:
        await call.db.execute(
            "UPDATE tickets SET status = 'WITHDRAWN', reason = ? WHERE order_id = ?",
            (request.reason, request.order_id),
        )
        return WithdrawTicketResponse()
