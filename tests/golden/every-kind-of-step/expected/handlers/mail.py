"""Service `mail`.

`sagagen generate` created this file once; from now on it is yours.
"""

from grpclib.const import Status

from generated.pb.trip import Nothing, SendTicketRequest
from generated.services.mail import MailHandlers
from sagagen.runtime import Call, RpcError


class MailService(MailHandlers):
    async def send_ticket(self, request: SendTicketRequest, call: Call) -> Nothing:
        raise RpcError(Status.UNIMPLEMENTED, "mail.send_ticket is not written yet")
