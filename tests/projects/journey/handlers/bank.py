"""The bank: charges cards at a third party, and keeps points."""

from generated.pb.journey.v1 import (
    AddPointsRequest,
    AddPointsResponse,
    ChargeCardRequest,
    ChargeCardResponse,
    RefundCardRequest,
    RefundCardResponse,
    TakePointsRequest,
    TakePointsResponse,
)
from generated.services.bank import BankHandlers
from handlers.trouble import obey
from sagagen.runtime import Call

POINTS = 12


class BankService(BankHandlers):
    async def charge_card(self, request: ChargeCardRequest, call: Call) -> ChargeCardResponse:
        await obey(request.script, "charge_card")
        db = await call.begin()
        await db.execute(
            "INSERT INTO charges (trip_id, amount_minor, status) VALUES (?, ?, 'CHARGED')",
            (request.trip_id, request.amount_minor),
        )
        return ChargeCardResponse()

    async def refund_card(self, request: RefundCardRequest, call: Call) -> RefundCardResponse:
        await obey(request.script, "undo charge_card")
        db = await call.begin()
        await db.execute("UPDATE charges SET status = 'REFUNDED' WHERE trip_id = ?", (request.trip_id,))
        return RefundCardResponse()

    async def add_points(self, request: AddPointsRequest, call: Call) -> AddPointsResponse:
        await obey(request.script, "add_points")
        await call.db.execute(
            "INSERT INTO points (trip_id, points) VALUES (?, ?)", (request.trip_id, POINTS)
        )
        return AddPointsResponse(points=POINTS)

    async def take_points(self, request: TakePointsRequest, call: Call) -> TakePointsResponse:
        await obey(request.script, "undo add_points")
        await call.db.execute("DELETE FROM points WHERE trip_id = ?", (request.trip_id,))
        return TakePointsResponse()
