"""The kitchen: ingredients for dishes."""

from generated.pb.delivery.kitchen.v1 import (
    ReleaseIngredientsRequest,
    ReleaseIngredientsResponse,
    ReserveIngredientsRequest,
    ReserveIngredientsResponse,
)
from generated.services.kitchen import KitchenHandlers
from handlers.journal import note
from sagagen.runtime import Call, Declined


class KitchenService(KitchenHandlers):
    async def reserve_ingredients(
        self, request: ReserveIngredientsRequest, call: Call
    ) -> ReserveIngredientsResponse:
        taken = await call.db.fetch(
            "UPDATE larder SET available = available - ?1, reserved = reserved + ?1 "
            "WHERE dish_id = ?2 AND available >= ?1 RETURNING dish_id",
            (request.quantity, request.dish_id),
        )
        if not taken:
            raise Declined("SOLD_OUT", f"the larder has nothing for {request.dish_id}")
        await call.db.execute(
            "INSERT INTO reservations (order_id, dish_id, quantity) VALUES (?, ?, ?)",
            (request.order_id, request.dish_id, request.quantity),
        )
        await note(call, request.order_id, f"reserve[{request.dish_id}]")
        return ReserveIngredientsResponse()

    async def release_ingredients(
        self, request: ReleaseIngredientsRequest, call: Call
    ) -> ReleaseIngredientsResponse:
        released = await call.db.fetch(
            "DELETE FROM reservations WHERE order_id = ? AND dish_id = ? RETURNING quantity",
            (request.order_id, request.dish_id),
        )
        for row in released:
            await call.db.execute(
                "UPDATE larder SET available = available + ?1, reserved = reserved - ?1 WHERE dish_id = ?2",
                (row["quantity"], request.dish_id),
            )
        await note(call, request.order_id, f"undo reserve[{request.dish_id}]")
        return ReleaseIngredientsResponse()
