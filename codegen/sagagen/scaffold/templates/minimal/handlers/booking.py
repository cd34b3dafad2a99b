"""Service `booking`: what it does. The contract says when."""

from generated.pb.booking.v1 import (
    ConfirmSeatRequest,
    ConfirmSeatResponse,
    CountSeatsRequest,
    CountSeatsResponse,
    HoldSeatRequest,
    HoldSeatResponse,
    ReleaseSeatRequest,
    ReleaseSeatResponse,
)
from generated.services.booking import BookingHandlers
from sagagen.runtime import Call, Declined

SEATS = 10
UNWELCOME = "mallory"


class BookingService(BookingHandlers):
    async def hold_seat(self, request: HoldSeatRequest, call: Call) -> HoldSeatResponse:
        rows = await call.db.fetch("SELECT count(*) AS taken FROM bookings")
        if rows[0]["taken"] >= SEATS:
            raise Declined("SOLD_OUT", f"all {SEATS} seats are taken")
        await call.db.execute(
            "INSERT INTO bookings (booking_id, guest, status) VALUES (?, ?, 'HELD')",
            (request.booking_id, request.guest),
        )
        return HoldSeatResponse()

    async def release_seat(self, request: ReleaseSeatRequest, call: Call) -> ReleaseSeatResponse:
        await call.db.execute("DELETE FROM bookings WHERE booking_id = ?", (request.booking_id,))
        return ReleaseSeatResponse()

    async def confirm_seat(self, request: ConfirmSeatRequest, call: Call) -> ConfirmSeatResponse:
        rows = await call.db.fetch(
            "UPDATE bookings SET status = 'CONFIRMED' WHERE booking_id = ? RETURNING guest", (request.booking_id,)
        )
        if rows[0]["guest"] == UNWELCOME:
            raise Declined("UNWELCOME", "this guest may not come in")
        return ConfirmSeatResponse()

    async def count_seats(self, request: CountSeatsRequest, call: Call) -> CountSeatsResponse:
        rows = await call.db.fetch("SELECT count(*) AS taken FROM bookings")
        return CountSeatsResponse(taken=rows[0]["taken"])
