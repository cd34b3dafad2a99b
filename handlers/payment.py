"""Payments: charges customers up to a limit, and gives their money back."""

from uuid import NAMESPACE_OID, uuid5

from generated.pb.shop.payment.v1 import (
    ChargePaymentRequest,
    ChargePaymentResponse,
    RefundPaymentRequest,
    RefundPaymentResponse,
)
from generated.services.payment import PaymentHandlers
from sagagen.runtime import Call, Declined

LIMIT_MINOR = 500_00
"""Largest total of one payment, in cents."""


class PaymentService(PaymentHandlers):
    async def charge_payment(self, request: ChargePaymentRequest, call: Call) -> ChargePaymentResponse:
        if request.amount_minor > LIMIT_MINOR:
            raise Declined("PAYMENT_LIMIT_EXCEEDED", f"a payment is at most {LIMIT_MINOR / 100:.2f}")
        payment_id = f"pay_{uuid5(NAMESPACE_OID, request.order_id).hex}"
        await call.db.execute(
            "INSERT INTO payments (order_id, payment_id, customer_id, amount_minor, status) "
            "VALUES (?, ?, ?, ?, 'CHARGED')",
            (request.order_id, payment_id, request.customer_id, request.amount_minor),
        )
        return ChargePaymentResponse(payment_id=payment_id)

    async def refund_payment(self, request: RefundPaymentRequest, call: Call) -> RefundPaymentResponse:
        await call.db.execute(
            "UPDATE payments SET status = 'REFUNDED' WHERE order_id = ?", (request.order_id,)
        )
        return RefundPaymentResponse()
