"""The floor's process that takes orders: `python bench/floor_gateway.py LOG HTTP_PORT ORDER INVENTORY PAYMENT`.

It answers 202 once an order is on disk. Each step's response is on disk before the next step is called; a saga leaves
six rows. After a restart it goes on with every saga that has no last row.
"""

import plain_messages  # noqa: F401, I001  # pyright: ignore[reportUnusedImport] - it must come before the messages

import asyncio
import json
import queue
import sqlite3
import sys
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from betterproto2 import Message
from grpclib.client import Channel
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from generated.pb.shop.inventory.v1 import (
    ReleaseStockRequest,
    ReleaseStockResponse,
    ReserveStockRequest,
    ReserveStockResponse,
    StockLine,
)
from generated.pb.shop.order.v1 import (
    CancelOrderRequest,
    CancelOrderResponse,
    ConfirmOrderRequest,
    ConfirmOrderResponse,
    CreateOrderRequest,
    CreateOrderResponse,
    OrderItem,
)
from generated.pb.shop.payment.v1 import ChargePaymentRequest, ChargePaymentResponse

MessageT = TypeVar("MessageT", bound=Message)
TIMEOUT_S = 10.0

_TABLE = "CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, saga TEXT, event TEXT, data BLOB)"
_INSERT = "INSERT INTO log (saga, event, data) VALUES (?, ?, ?)"
_Row = tuple[str, str, bytes]


class Log:
    """A thread that commits whatever waits, in one transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[tuple[asyncio.Future[None], _Row]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True).start()

    async def append(self, saga: str, event: str, data: bytes = b"") -> None:
        """The row is on disk when this returns."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((done, (saga, event, data)))
        await done

    def _run(self) -> None:
        connection = connect(self._path)
        while True:
            group = [self._queue.get()]
            while not self._queue.empty():
                group.append(self._queue.get())
            connection.execute("BEGIN")
            connection.executemany(_INSERT, [row for _, row in group])
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_settle, [done for done, _ in group])


def _settle(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(_TABLE)
    return connection


class Sagas:
    """The saga, step by step; `rows` are what a former process has left of it."""

    def __init__(self, log: Log, ports: Sequence[int]) -> None:
        self._log = log
        self._order, self._inventory, self._payment = (Channel("127.0.0.1", port) for port in ports)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, saga: str, order: dict[str, Any], rows: Sequence[tuple[str, bytes]] = ()) -> None:
        task = asyncio.create_task(self._run(saga, order, dict(rows)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, saga: str, order: dict[str, Any], done: dict[str, bytes]) -> None:
        try:
            await self._forward(saga, order, done)
        except GRPCError:
            await self._backward(saga, done)
            await self._log.append(saga, "COMPENSATED")
        else:
            await self._log.append(saga, "COMPLETED")

    async def _forward(self, saga: str, order: dict[str, Any], done: dict[str, bytes]) -> None:
        items = [
            OrderItem(item["product_id"], item["quantity"], round(item["price"] * 100))
            for item in order["items"]
        ]
        create = CreateOrderRequest(saga, order["customer_id"], items)
        created = await self._step(
            saga, done, self._order, "/shop.order.v1.OrderService/CreateOrder", create, CreateOrderResponse
        )
        reserve = ReserveStockRequest(saga, [StockLine(item.product_id, item.quantity) for item in items])
        await self._step(
            saga,
            done,
            self._inventory,
            "/shop.inventory.v1.InventoryService/ReserveStock",
            reserve,
            ReserveStockResponse,
        )
        total_minor = created.order.total_minor if created.order else 0
        charge = ChargePaymentRequest(saga, order["customer_id"], total_minor)
        await self._step(
            saga,
            done,
            self._payment,
            "/shop.payment.v1.PaymentService/ChargePayment",
            charge,
            ChargePaymentResponse,
        )
        confirm = ConfirmOrderRequest(saga)
        await self._step(
            saga, done, self._order, "/shop.order.v1.OrderService/ConfirmOrder", confirm, ConfirmOrderResponse
        )

    async def _backward(self, saga: str, done: dict[str, bytes]) -> None:
        """Only a payment is ever declined, so stock and order are what there is to undo."""
        release, cancel = ReleaseStockRequest(saga), CancelOrderRequest(saga, "DECLINED")
        await self._step(
            saga,
            done,
            self._inventory,
            "/shop.inventory.v1.InventoryService/ReleaseStock",
            release,
            ReleaseStockResponse,
        )
        await self._step(
            saga, done, self._order, "/shop.order.v1.OrderService/CancelOrder", cancel, CancelOrderResponse
        )

    async def _step(
        self,
        saga: str,
        done: dict[str, bytes],
        channel: Channel,
        path: str,
        request: Message,
        response: type[MessageT],
    ) -> MessageT:
        if path in done:
            return response.parse(done[path])
        stream = channel.request(path, Cardinality.UNARY_UNARY, type(request), response, timeout=TIMEOUT_S)
        async with stream:
            await stream.send_message(request, end=True)
            answer = await stream.recv_message()
        assert answer is not None, "a unary call without status has an answer"
        await self._log.append(saga, path, bytes(answer))
        return answer


def unfinished(path: Path) -> dict[str, list[tuple[str, bytes]]]:
    sagas: dict[str, list[tuple[str, bytes]]] = {}
    for saga, event, data in connect(path).execute("SELECT saga, event, data FROM log ORDER BY number"):
        if event in ("COMPLETED", "COMPENSATED"):
            del sagas[saga]
        else:
            sagas.setdefault(saga, []).append((event, data))
    return sagas


def application(path: Path, ports: Sequence[int]) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        left = unfinished(path)
        app.state.log = Log(path)
        app.state.sagas = Sagas(app.state.log, ports)
        for saga, rows in left.items():
            app.state.sagas.begin(saga, json.loads(rows[0][1]), rows[1:])
        yield

    async def post(request: Request) -> JSONResponse:
        saga, body = request.headers["x-idempotency-key"], await request.body()
        await app.state.log.append(saga, "ACCEPTED", body)
        app.state.sagas.begin(saga, json.loads(body))
        return JSONResponse({"id": saga}, status_code=202)

    app = Starlette(lifespan=lifespan, routes=[Route("/orders", post, methods=["POST"])])
    return app


if __name__ == "__main__":
    _, log, http, *services = sys.argv
    uvicorn.run(
        application(Path(log), [int(port) for port in services]),
        port=int(http),
        log_level="warning",
        access_log=False,
    )
