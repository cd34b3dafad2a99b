"""Service `courier`: each order has one courier, who may bring several."""

from generated.pb.delivery.courier.v1 import (
    AssignCourierRequest,
    AssignCourierResponse,
    UnassignCourierRequest,
    UnassignCourierResponse,
)
from generated.services.courier import CourierHandlers
from sagagen.runtime import Call, Declined


class CourierService(CourierHandlers):
    async def assign_courier(self, request: AssignCourierRequest, call: Call) -> AssignCourierResponse:
        area = request.address.rpartition(",")[2].strip()
        found = await call.db.fetch(
            "UPDATE couriers SET rides = rides + 1 WHERE courier_id = "
            "(SELECT courier_id FROM couriers WHERE area = ? ORDER BY rides, courier_id LIMIT 1) "
            "RETURNING courier_id",
            (area,),
        )
        if not found:
            raise Declined("NO_COURIER", f"no courier rides to {area}")
        courier_id = str(found[0]["courier_id"])
        await call.db.execute(
            "INSERT INTO rides (order_id, courier_id, address) VALUES (?, ?, ?)",
            (request.order_id, courier_id, request.address),
        )
        return AssignCourierResponse(courier_id=courier_id)

    async def unassign_courier(self, request: UnassignCourierRequest, call: Call) -> UnassignCourierResponse:
        freed = await call.db.fetch(
            "DELETE FROM rides WHERE order_id = ? RETURNING courier_id", (request.order_id,)
        )
        await call.db.executemany(
            "UPDATE couriers SET rides = rides - 1 WHERE courier_id = ?", [(row["courier_id"],) for row in freed]
        )
        return UnassignCourierResponse()
