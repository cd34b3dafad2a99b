"""Orders: stored when placed, then confirmed or cancelled."""

from datetime import UTC, datetime
from sqlite3 import Row

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
from sagagen.runtime import Call, Db, RpcError


class OrderService(OrderHandlers):
    async def create_order(self, request: CreateOrderRequest, call: Call) -> CreateOrderResponse:
        now = datetime.now(UTC)
        order = Order(
            order_id=request.order_id,
            customer_id=request.customer_id,
            status=OrderStatus.PENDING,
            items=request.items,
            total_minor=sum(item.quantity * item.unit_price_minor for item in request.items),
            create_time=now,
            update_time=now,
        )
        await call.db.execute(
            "INSERT INTO orders (order_id, customer_id, status, total_minor, create_time, update_time) "
            "VALUES (?, ?, ?, ?, ?5, ?5)",
            (order.order_id, order.customer_id, int(order.status), order.total_minor, now.isoformat()),
        )
        await call.db.executemany(
            "INSERT INTO order_items (order_id, line, product_id, quantity, unit_price_minor) "
            "VALUES (?, ?, ?, ?, ?)",
            [
                (order.order_id, line, item.product_id, item.quantity, item.unit_price_minor)
                for line, item in enumerate(order.items)
            ],
        )
        return CreateOrderResponse(order=order)

    async def confirm_order(self, request: ConfirmOrderRequest, call: Call) -> ConfirmOrderResponse:
        return ConfirmOrderResponse(order=await set_status(call.db, request.order_id, OrderStatus.CONFIRMED))

    async def cancel_order(self, request: CancelOrderRequest, call: Call) -> CancelOrderResponse:
        return CancelOrderResponse(
            order=await set_status(call.db, request.order_id, OrderStatus.CANCELLED, request.reason)
        )

    async def get_order(self, request: GetOrderRequest, call: Call) -> GetOrderResponse:
        rows = await call.db.fetch("SELECT * FROM orders WHERE order_id = ?", (request.order_id,))
        return GetOrderResponse(order=await with_items(call.db, request.order_id, rows))


async def set_status(db: Db, order_id: str, status: OrderStatus, reason: str | None = None) -> Order:
    rows = await db.fetch(
        "UPDATE orders SET status = ?, cancel_reason = ?, update_time = ? WHERE order_id = ? RETURNING *",
        (int(status), reason, datetime.now(UTC).isoformat(), order_id),
    )
    return await with_items(db, order_id, rows)


async def with_items(db: Db, order_id: str, rows: list[Row]) -> Order:
    """The order of one row; NOT_FOUND if there is none."""
    if not rows:
        raise RpcError(Status.NOT_FOUND, f"no order {order_id}")
    items = await db.fetch("SELECT * FROM order_items WHERE order_id = ? ORDER BY line", (order_id,))
    return Order(
        order_id=order_id,
        customer_id=rows[0]["customer_id"],
        status=OrderStatus(rows[0]["status"]),
        items=[OrderItem(i["product_id"], i["quantity"], i["unit_price_minor"]) for i in items],
        total_minor=rows[0]["total_minor"],
        cancel_reason=rows[0]["cancel_reason"],
        create_time=datetime.fromisoformat(rows[0]["create_time"]),
        update_time=datetime.fromisoformat(rows[0]["update_time"]),
    )
