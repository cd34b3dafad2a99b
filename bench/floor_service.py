"""A service of the floor, plain grpclib with its state in memory: `floor_service.py order|inventory|payment PORT`."""

import plain_messages  # noqa: F401, I001  # pyright: ignore[reportUnusedImport] - it must come before the messages

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Any

from betterproto2 import Message
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream
from uvloop import new_event_loop

from generated.pb.shop.inventory.v1 import (
    ReleaseStockRequest,
    ReleaseStockResponse,
    ReserveStockRequest,
    ReserveStockResponse,
)
from generated.pb.shop.order.v1 import (
    CancelOrderRequest,
    CancelOrderResponse,
    ConfirmOrderRequest,
    ConfirmOrderResponse,
    CreateOrderRequest,
    CreateOrderResponse,
    Order,
    OrderStatus,
)
from generated.pb.shop.payment.v1 import (
    ChargePaymentRequest,
    ChargePaymentResponse,
    RefundPaymentRequest,
    RefundPaymentResponse,
)

LIMIT_MINOR = 500_00

_orders: dict[str, Order] = {}
_reservations: dict[str, dict[str, int]] = {}
_payments: dict[str, int] = {}


def create_order(request: CreateOrderRequest) -> CreateOrderResponse:
    total = sum(item.quantity * item.unit_price_minor for item in request.items)
    order = _orders[request.order_id] = Order(
        order_id=request.order_id,
        customer_id=request.customer_id,
        status=OrderStatus.PENDING,
        items=request.items,
        total_minor=total,
    )
    return CreateOrderResponse(order=order)


def confirm_order(request: ConfirmOrderRequest) -> ConfirmOrderResponse:
    _orders[request.order_id].status = OrderStatus.CONFIRMED
    return ConfirmOrderResponse(order=_orders[request.order_id])


def cancel_order(request: CancelOrderRequest) -> CancelOrderResponse:
    _orders[request.order_id].status = OrderStatus.CANCELLED
    return CancelOrderResponse(order=_orders[request.order_id])


def reserve_stock(request: ReserveStockRequest) -> ReserveStockResponse:
    _reservations[request.order_id] = {line.product_id: line.quantity for line in request.lines}
    return ReserveStockResponse()


def release_stock(request: ReleaseStockRequest) -> ReleaseStockResponse:
    _reservations.pop(request.order_id, None)
    return ReleaseStockResponse()


def charge_payment(request: ChargePaymentRequest) -> ChargePaymentResponse:
    if request.amount_minor > LIMIT_MINOR:
        raise GRPCError(Status.FAILED_PRECONDITION, "too expensive")
    _payments[request.order_id] = request.amount_minor
    return ChargePaymentResponse(payment_id=f"pay_{request.order_id}")


def refund_payment(request: RefundPaymentRequest) -> RefundPaymentResponse:
    _payments.pop(request.order_id, None)
    return RefundPaymentResponse()


_Rpc = tuple[str, Callable[[Any], Message], type[Message], type[Message]]
_RPCS: dict[str, tuple[_Rpc, ...]] = {
    "order": (
        ("/shop.order.v1.OrderService/CreateOrder", create_order, CreateOrderRequest, CreateOrderResponse),
        (
            "/shop.order.v1.OrderService/ConfirmOrder",
            confirm_order,
            ConfirmOrderRequest,
            ConfirmOrderResponse,
        ),
        ("/shop.order.v1.OrderService/CancelOrder", cancel_order, CancelOrderRequest, CancelOrderResponse),
    ),
    "inventory": (
        (
            "/shop.inventory.v1.InventoryService/ReserveStock",
            reserve_stock,
            ReserveStockRequest,
            ReserveStockResponse,
        ),
        (
            "/shop.inventory.v1.InventoryService/ReleaseStock",
            release_stock,
            ReleaseStockRequest,
            ReleaseStockResponse,
        ),
    ),
    "payment": (
        (
            "/shop.payment.v1.PaymentService/ChargePayment",
            charge_payment,
            ChargePaymentRequest,
            ChargePaymentResponse,
        ),
        (
            "/shop.payment.v1.PaymentService/RefundPayment",
            refund_payment,
            RefundPaymentRequest,
            RefundPaymentResponse,
        ),
    ),
}


class _Service:
    def __init__(self, name: str) -> None:
        self._rpcs = _RPCS[name]

    def __mapping__(self) -> dict[str, Handler]:
        return {
            path: Handler(_handler(answer), Cardinality.UNARY_UNARY, request, response)
            for path, answer, request, response in self._rpcs
        }


def _handler(answer: Callable[[Any], Message]) -> Callable[[Stream[Any, Any]], Any]:
    async def handle(stream: Stream[Any, Any]) -> None:
        await stream.send_message(answer(await stream.recv_message()))

    return handle


async def serve(name: str, port: int) -> None:
    server = Server([_Service(name)])
    await server.start("127.0.0.1", port)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(sys.argv[1], int(sys.argv[2])))
