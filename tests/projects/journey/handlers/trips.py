"""Trips: opened, confirmed or closed."""

from uuid import uuid4

from generated.pb.journey.v1 import (
    CloseTripRequest,
    CloseTripResponse,
    ConfirmTripRequest,
    ConfirmTripResponse,
    GetFareRequest,
    GetFareResponse,
    NoteGuestRequest,
    NoteGuestResponse,
    OpenTripRequest,
    OpenTripResponse,
)
from generated.services.trips import TripsHandlers
from handlers.trouble import obey
from sagagen.runtime import Call

FARE_MINOR = 120_00


class TripsService(TripsHandlers):
    async def get_fare(self, request: GetFareRequest, call: Call) -> GetFareResponse:
        await obey(request.script, "look")
        return GetFareResponse(fare_minor=FARE_MINOR)

    async def open_trip(self, request: OpenTripRequest, call: Call) -> OpenTripResponse:
        await obey(request.script, "open_trip")
        number = uuid4().hex[:8]
        await call.db.execute(
            "INSERT INTO trips (trip_id, number, status) VALUES (?, ?, 'OPEN')", (request.trip_id, number)
        )
        return OpenTripResponse(number=number)

    async def close_trip(self, request: CloseTripRequest, call: Call) -> CloseTripResponse:
        await obey(request.script, "undo open_trip")
        await call.db.execute(
            "UPDATE trips SET status = 'CLOSED', reason = ? WHERE trip_id = ?",
            (request.reason, request.trip_id),
        )
        return CloseTripResponse()

    async def note_guest(self, request: NoteGuestRequest, call: Call) -> NoteGuestResponse:
        await obey(request.script, "note_guest")
        await call.db.execute(
            "UPDATE trips SET guest = ? WHERE trip_id = ?", (request.guest, request.trip_id)
        )
        return NoteGuestResponse()

    async def confirm_trip(self, request: ConfirmTripRequest, call: Call) -> ConfirmTripResponse:
        await obey(request.script, "confirm_trip")
        await call.db.execute(
            "UPDATE trips SET status = 'CONFIRMED' WHERE trip_id = ?", (request.trip_id,)
        )
        return ConfirmTripResponse()
