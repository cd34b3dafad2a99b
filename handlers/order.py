"""Orders: stored when placed, then confirmed or cancelled."""

import json
from collections.abc import Sequence
from datetime import datetime

from grpclib.const import Status

from generated.pb.shop.order.v1 import (
    CancelOrderRequest,
    CancelOrderResponse,
    ConfirmOrderRequest,
    ConfirmOrderResponse,
    CreateOrderRequest,
    CreateOrderResponse,
    GetOrderRequest,
    GetOrderResponse,
    Order,
    OrderItem,
    OrderStatus,
)
from generated.services.order import OrderHandlers
from sagagen.runtime import Call, Row, RpcError


class OrderService(OrderHandlers):
    async def create_order(self, request: CreateOrderRequest, call: Call) -> CreateOrderResponse:
        now = call.now
        order = Order(
            order_id=request.order_id,
            customer_id=request.customer_id,
            status=OrderStatus.PENDING,
            items=request.items,
            total_minor=sum(item.quantity * item.unit_price_minor for item in request.items),
            create_time=now,
            update_time=now,
        )
        items = [(item.product_id, item.quantity, item.unit_price_minor) for item in order.items]
        await call.db.execute(
            "INSERT INTO orders (order_id, customer_id, status, items, total_minor, create_time, update_time) "
            "VALUES (?, ?, ?, ?, ?, ?6, ?6)",
            (
                order.order_id,
                order.customer_id,
                int(order.status),
                json.dumps(items),
                order.total_minor,
                now.isoformat(),
            ),
        )
        return CreateOrderResponse(order=order)

    async def confirm_order(self, request: ConfirmOrderRequest, call: Call) -> ConfirmOrderResponse:
        return ConfirmOrderResponse(order=await set_status(call, request.order_id, OrderStatus.CONFIRMED))

    async def cancel_order(self, request: CancelOrderRequest, call: Call) -> CancelOrderResponse:
        return CancelOrderResponse(
            order=await set_status(call, request.order_id, OrderStatus.CANCELLED, request.reason)
        )

    async def get_order(self, request: GetOrderRequest, call: Call) -> GetOrderResponse:
        rows = await call.db.fetch("SELECT * FROM orders WHERE order_id = ?", (request.order_id,))
        return GetOrderResponse(order=order_of(rows, request.order_id))


async def set_status(call: Call, order_id: str, status: OrderStatus, reason: str | None = None) -> Order:
    rows = await call.db.fetch(
        "UPDATE orders SET status = ?, cancel_reason = ?, update_time = ? WHERE order_id = ? RETURNING *",
        (int(status), reason, call.now.isoformat(), order_id),
    )
    return order_of(rows, order_id)


def order_of(rows: Sequence[Row], order_id: str) -> Order:
    """The order of one row; NOT_FOUND if there is none."""
    if not rows:
        raise RpcError(Status.NOT_FOUND, f"no order {order_id}")
    row = rows[0]
    return Order(
        order_id=order_id,
        customer_id=row["customer_id"],
        status=OrderStatus(row["status"]),
        items=[OrderItem(*item) for item in json.loads(row["items"])],
        total_minor=row["total_minor"],
        cancel_reason=row["cancel_reason"],
        create_time=datetime.fromisoformat(row["create_time"]),
        update_time=datetime.fromisoformat(row["update_time"]),
    )
