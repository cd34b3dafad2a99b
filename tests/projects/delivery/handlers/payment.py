"""Payments: an amount is set aside, and then taken or given free."""

from generated.pb.delivery.payment.v1 import (
    AuthorisePaymentRequest,
    AuthorisePaymentResponse,
    CapturePaymentRequest,
    CapturePaymentResponse,
    CheckFraudRequest,
    CheckFraudResponse,
    VoidPaymentRequest,
    VoidPaymentResponse,
)
from generated.services.payment import PaymentHandlers
from handlers.journal import note
from sagagen.runtime import Call, Declined

FRAUD = "fraud"
"""A customer whose name begins like this is known."""
POOR = "poor"


class PaymentService(PaymentHandlers):
    async def check_fraud(self, request: CheckFraudRequest, call: Call) -> CheckFraudResponse:
        if request.customer_id.startswith(FRAUD):
            raise Declined("FRAUD_SUSPECTED", "we know this customer")
        return CheckFraudResponse()

    async def authorise_payment(
        self, request: AuthorisePaymentRequest, call: Call
    ) -> AuthorisePaymentResponse:
        if request.customer_id.startswith(POOR):
            raise Declined("NO_MONEY", "the bank sets nothing aside")
        await call.db.execute(
            "INSERT INTO payments (order_id, customer_id, amount_minor, status) VALUES (?, ?, ?, 'AUTHORISED')",
            (request.order_id, request.customer_id, request.amount_minor),
        )
        await note(call, request.order_id, "authorise")
        return AuthorisePaymentResponse()

    async def void_payment(self, request: VoidPaymentRequest, call: Call) -> VoidPaymentResponse:
        await call.db.execute(
            "UPDATE payments SET status = 'VOIDED' WHERE order_id = ?", (request.order_id,)
        )
        await note(call, request.order_id, "undo authorise")
        return VoidPaymentResponse()

    async def capture_payment(self, request: CapturePaymentRequest, call: Call) -> CapturePaymentResponse:
        await call.db.execute(
            "UPDATE payments SET status = 'CAPTURED' WHERE order_id = ?", (request.order_id,)
        )
        await note(call, request.order_id, "capture")
        return CapturePaymentResponse()
