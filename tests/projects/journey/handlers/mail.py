"""Mail: what was sent stays sent."""

from generated.pb.journey.v1 import SendTicketRequest, SendTicketResponse
from generated.services.mail import MailHandlers
from handlers.trouble import obey
from sagagen.runtime import Call


class MailService(MailHandlers):
    async def send_ticket(self, request: SendTicketRequest, call: Call) -> SendTicketResponse:
        await obey(request.script, "send_ticket")
        await call.db.execute(
            "INSERT INTO letters (trip_id, copies) VALUES (?, ?)", (request.trip_id, request.copies)
        )
        return SendTicketResponse()
