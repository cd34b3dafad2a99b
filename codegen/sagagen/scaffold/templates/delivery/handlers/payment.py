"""Service `payment`: an amount is set aside, and then taken or given free."""

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
from sagagen.runtime import Call, Declined

CARD_LIMIT_MINOR = 50_000


class PaymentService(PaymentHandlers):
    async def check_fraud(self, request: CheckFraudRequest, call: Call) -> CheckFraudResponse:
        if await call.db.fetch("SELECT 1 FROM suspects WHERE customer_id = ?", (request.customer_id,)):
            raise Declined("FRAUD_SUSPECTED", "this customer is known for fraud")
        return CheckFraudResponse()

    async def authorise_payment(
        self, request: AuthorisePaymentRequest, call: Call
    ) -> AuthorisePaymentResponse:
        if request.amount_minor > CARD_LIMIT_MINOR:
            raise Declined("CARD_DECLINED", "the amount is above the card's limit")
        await call.db.execute(
            "INSERT INTO payments (order_id, customer_id, amount_minor, status) VALUES (?, ?, ?, 'AUTHORISED')",
            (request.order_id, request.customer_id, request.amount_minor),
        )
        return AuthorisePaymentResponse()

    async def void_payment(self, request: VoidPaymentRequest, call: Call) -> VoidPaymentResponse:
        await call.db.execute(
            "UPDATE payments SET status = 'VOIDED' WHERE order_id = ?", (request.order_id,)
        )
        return VoidPaymentResponse()

    async def capture_payment(self, request: CapturePaymentRequest, call: Call) -> CapturePaymentResponse:
        is_captured = await call.db.execute(
            "UPDATE payments SET status = 'CAPTURED' WHERE order_id = ? AND status = 'AUTHORISED'",
            (request.order_id,),
        )
        if not is_captured:  # no saga gets here; a bug that does should be seen, and not be taken for a success
            raise LookupError(f"nothing is set aside for order {request.order_id}")
        return CapturePaymentResponse()
