"""Seats: held for trips, and cleaned."""

from datetime import timedelta

from generated.pb.journey.v1 import (
    CleanSeatRequest,
    CleanSeatResponse,
    HoldSeatRequest,
    HoldSeatResponse,
    ReleaseSeatRequest,
    ReleaseSeatResponse,
)
from generated.services.seats import SeatsHandlers
from handlers.trouble import obey, word_for
from sagagen.runtime import Call, Declined

FLIGHT = timedelta(hours=2)
ENDLESS = timedelta(days=300_000_000)
"""Longer than google.protobuf.Duration may be."""
SEATS = 200


class SeatsService(SeatsHandlers):
    async def hold_seat(self, request: HoldSeatRequest, call: Call) -> HoldSeatResponse:
        await obey(request.script, "hold_seat")
        await call.db.execute(
            "INSERT INTO held (trip_id, number, seat) VALUES (?, ?, ?)",
            (request.trip_id, request.number, request.seat),
        )
        return HoldSeatResponse(
            flight=ENDLESS if word_for(request.script, "hold_seat") == "endless" else FLIGHT
        )

    async def release_seat(self, request: ReleaseSeatRequest, call: Call) -> ReleaseSeatResponse:
        await obey(request.script, "undo hold_seat")
        await call.db.execute("DELETE FROM held WHERE trip_id = ?", (request.trip_id,))
        return ReleaseSeatResponse()

    async def clean_seat(self, request: CleanSeatRequest, call: Call) -> CleanSeatResponse:
        if request.seat > SEATS:
            raise Declined("NO_SUCH_SEAT", f"there are {SEATS} seats")
        rows = await call.db.fetch(
            "INSERT INTO cleaned (seat, times) VALUES (?, 1) "
            "ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times",
            (request.seat,),
        )
        return CleanSeatResponse(times=rows[0]["times"])
