"""Mails: what was sent stays sent."""

from generated.pb.delivery.notification.v1 import SendMailRequest, SendMailResponse
from generated.services.notification import NotificationHandlers
from handlers.journal import note
from sagagen.runtime import Call, Declined

BOUNCES = "nomail"
"""Whoever's name begins like this has no mailbox."""


class NotificationService(NotificationHandlers):
    async def send_mail(self, request: SendMailRequest, call: Call) -> SendMailResponse:
        if request.customer_id.startswith(BOUNCES):
            raise Declined("BOUNCED", "there is no such mailbox")
        await call.db.execute(
            "INSERT INTO mails (order_id, customer_id) VALUES (?, ?)", (request.order_id, request.customer_id)
        )
        await note(call, request.order_id, "send_mail")
        return SendMailResponse()
