"""Couriers: each brings one order."""

from uuid import uuid4

from generated.pb.delivery.courier.v1 import (
    AssignCourierRequest,
    AssignCourierResponse,
    UnassignCourierRequest,
    UnassignCourierResponse,
)
from generated.services.courier import CourierHandlers
from handlers.journal import note
from sagagen.runtime import Call, Declined

NOWHERE = "far out"
"""No courier rides there."""


class CourierService(CourierHandlers):
    async def assign_courier(self, request: AssignCourierRequest, call: Call) -> AssignCourierResponse:
        if request.address == NOWHERE:
            raise Declined("NO_COURIER", "nobody rides there")
        courier_id = uuid4().hex[:8]
        await call.db.execute(
            "INSERT INTO couriers (courier_id, order_id) VALUES (?, ?)", (courier_id, request.order_id)
        )
        await note(call, request.order_id, "assign_courier")
        return AssignCourierResponse(courier_id=courier_id)

    async def unassign_courier(self, request: UnassignCourierRequest, call: Call) -> UnassignCourierResponse:
        await call.db.execute("UPDATE couriers SET order_id = NULL WHERE order_id = ?", (request.order_id,))
        await note(call, request.order_id, "undo assign_courier")
        return UnassignCourierResponse()
