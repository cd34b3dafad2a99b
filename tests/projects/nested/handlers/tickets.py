"""Sells tickets and sends letters."""

import betterproto2

from generated.pb.museum.ticket.v1 import (
    CountRequest,
    CountResponse,
    OpenRequest,
    OpenResponse,
    PostRequest,
    PostResponse,
    ReleaseRequest,
    ReleaseResponse,
    ReserveRequest,
    ReserveResponse,
)
from generated.services.tickets import TicketsHandlers
from sagagen.runtime import Call, Declined

SEAT_MINOR = 12_00


class TicketsService(TicketsHandlers):
    async def reserve(self, request: ReserveRequest, call: Call) -> ReserveResponse:
        method = betterproto2.which_one_of(request.payment, "method")[0] if request.payment else ""
        if not method:
            raise Declined("NO_PAYMENT", "a ticket is paid by card or cash, or is free")
        total_minor = 0 if method == "is_free" else SEAT_MINOR * sum(request.seats.values())
        await call.db.execute(
            "INSERT INTO tickets (ticket_id, exhibit_id, total_minor) VALUES (?, ?, ?)",
            (request.ticket_id, request.exhibit_id, total_minor),
        )
        return ReserveResponse(total_minor=total_minor, seats=sorted(request.seats))

    async def release(self, request: ReleaseRequest, call: Call) -> ReleaseResponse:
        await call.db.execute("DELETE FROM tickets WHERE ticket_id = ?", (request.ticket_id,))
        return ReleaseResponse()

    async def post(self, request: PostRequest, call: Call) -> PostResponse:
        await call.db.execute("INSERT INTO letters (text) VALUES (?)", (request.text,))
        return PostResponse()

    async def open(self, request: OpenRequest, call: Call) -> OpenResponse:
        await call.db.execute("INSERT INTO announcements (text) VALUES (?)", (request.text,))
        return OpenResponse()

    async def count(self, request: CountRequest, call: Call) -> CountResponse:
        rows = await call.db.fetch(
            "SELECT (SELECT count(*) FROM tickets WHERE exhibit_id = ?), "
            "(SELECT count(*) FROM letters), (SELECT count(*) FROM announcements)",
            (request.exhibit_id,),
        )
        tickets, letters, announcements = rows[0]
        return CountResponse(tickets=tickets, letters=letters, announcements=announcements)
