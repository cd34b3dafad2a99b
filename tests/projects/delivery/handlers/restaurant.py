"""The restaurant: tickets on its tablet."""

from generated.pb.delivery.restaurant.v1 import (
    OpenTicketRequest,
    OpenTicketResponse,
    WithdrawTicketRequest,
    WithdrawTicketResponse,
)
from generated.services.restaurant import RestaurantHandlers
from handlers.journal import note
from sagagen.runtime import Call


class RestaurantService(RestaurantHandlers):
    async def open_ticket(self, request: OpenTicketRequest, call: Call) -> OpenTicketResponse:
        await call.db.execute(
            "INSERT INTO tickets (order_id, status) VALUES (?, 'OPEN')", (request.order_id,)
        )
        await note(call, request.order_id, "open_ticket")
        return OpenTicketResponse()

    async def withdraw_ticket(self, request: WithdrawTicketRequest, call: Call) -> WithdrawTicketResponse:
        await call.db.execute(
            "UPDATE tickets SET status = 'WITHDRAWN', reason = ? WHERE order_id = ?",
            (request.reason, request.order_id),
        )
        await note(call, request.order_id, "undo open_ticket")
        return WithdrawTicketResponse()
