"""Service `notification`: mails that are to be sent. What sends them takes them from the table `mails`."""

from generated.pb.delivery.notification.v1 import SendMailRequest, SendMailResponse
from generated.services.notification import NotificationHandlers
from sagagen.runtime import Call, Declined


class NotificationService(NotificationHandlers):
    async def send_mail(self, request: SendMailRequest, call: Call) -> SendMailResponse:
        if await call.db.fetch("SELECT 1 FROM bounces WHERE customer_id = ?", (request.customer_id,)):
            raise Declined("BOUNCED", "this customer's mail comes back")
        await call.db.execute(
            "INSERT INTO mails (order_id, customer_id) VALUES (?, ?)", (request.order_id, request.customer_id)
        )
        return SendMailResponse()
