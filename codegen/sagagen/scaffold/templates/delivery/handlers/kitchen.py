"""Service `kitchen`: ingredients for dishes."""

from generated.pb.delivery.kitchen.v1 import (
    ReleaseIngredientsRequest,
    ReleaseIngredientsResponse,
    ReserveIngredientsRequest,
    ReserveIngredientsResponse,
)
from generated.services.kitchen import KitchenHandlers
from sagagen.runtime import Call, Declined


class KitchenService(KitchenHandlers):
    async def reserve_ingredients(
        self, request: ReserveIngredientsRequest, call: Call
    ) -> ReserveIngredientsResponse:
        # One statement looks and takes: no order can come between.
        is_taken = await call.db.execute(
            "UPDATE larder SET available = available - ?1, reserved = reserved + ?1 "
            "WHERE dish_id = ?2 AND available >= ?1",
            (request.quantity, request.dish_id),
        )
        if not is_taken:
            raise Declined("SOLD_OUT", f"the larder has too little for {request.dish_id}")
        await call.db.execute(
            "INSERT INTO reservations (order_id, dish_id, quantity) VALUES (?, ?, ?)",
            (request.order_id, request.dish_id, request.quantity),
        )
        return ReserveIngredientsResponse()

    async def release_ingredients(
        self, request: ReleaseIngredientsRequest, call: Call
    ) -> ReleaseIngredientsResponse:
        released = await call.db.fetch(
            "DELETE FROM reservations WHERE order_id = ? AND dish_id = ? RETURNING quantity",
            (request.order_id, request.dish_id),
        )
        await call.db.executemany(
            "UPDATE larder SET available = available + ?1, reserved = reserved - ?1 WHERE dish_id = ?2",
            [(row["quantity"], request.dish_id) for row in released],
        )
        return ReleaseIngredientsResponse()
