"""What clients do in a campaign: orders with keys, sent once and again, other payloads, clients that hang up.

All of it follows from the seed; what it meets does not.
"""

import asyncio
import contextlib
import json
import math
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from replica_mesh import SCARCE

LIMIT_MINOR = 500_00
"""What one payment may come to, in cents, in the shop."""
ANSWER_S = 30.0
"""How long a client waits for an answer, in seconds."""

Item = tuple[str, int, float]
"""Product, quantity and price of one."""


class Answer(NamedTuple):
    """What came of one request; status 0 where there was no whole answer, or the client has hung up."""

    variant: str
    began: float
    ended: float
    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    @property
    def document(self) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            found: object = json.loads(self.body)
            if isinstance(found, dict):
                return found  # pyright: ignore[reportUnknownVariableType] - whatever is in there
        return {}

    @property
    def is_settled(self) -> bool:
        """It is kept, and repeated to whoever asks again."""
        return self.status == 201 or (
            self.status == 502 and self.document.get("reason") == "SAGA_COMPENSATED"
        )

    @property
    def is_replayed(self) -> bool:
        return self.headers.get("idempotency-replayed") == "true"


class Send(NamedTuple):
    at_s: float
    """After the order's first one."""
    variant: str
    hangs_up_after_s: float | None


@dataclass
class Order:
    """One idempotency key, what is sent with it, and all that was answered."""

    key: str
    kind: str
    payloads: dict[str, list[Item]]
    sends: list[Send]
    answers: list[Answer] = field(default_factory=list[Answer])
    reads: list[tuple[float, float, str]] = field(default_factory=list[tuple[float, float, str]])
    """When a read began and ended, and the order's status, or 404."""

    @property
    def is_answered(self) -> bool:
        """Nothing else will be answered to it."""
        return any(answer.is_settled or answer.status == 400 for answer in self.answers)

    def kind_of(self, variant: str) -> str:
        """What has to become of this payload: `good`, `dear`, `nostock`; `race` may go either way."""
        wanted = Counter[str]()
        for product, quantity, _ in self.payloads[variant]:
            wanted[product] += quantity
        if any(_is_never_there(product, quantity) for product, quantity in wanted.items()):
            return "nostock"
        if sum(quantity * minor(price) for _, quantity, price in self.payloads[variant]) > LIMIT_MINOR:
            return "dear"
        return "race" if any(product.startswith("scarce") for product in wanted) else "good"


def _is_never_there(product: str, quantity: int) -> bool:
    return product == "none_1" or (product.startswith("scarce") and quantity > SCARCE)


def minor(price: float) -> int:
    return math.floor(price * 100.0 + 0.5)


def customer(key: str, variant: str) -> str:
    return f"c-{key}-{variant}"


def draw(number: int, rng: random.Random) -> Order:
    kind = rng.choices(("good", "dear", "nostock", "race", "invalid"), (80, 9, 5, 4, 2))[0]
    order = Order(f"key-{number}", kind, {"A": _items(kind, rng)}, [])
    at_s, is_at_once = 0.0, rng.random() < 0.4
    for copy in range(rng.choices((1, 2, 3), (60, 28, 12))[0]):
        if copy and not is_at_once:
            at_s += rng.choice((0.01, 0.1, 0.5, 2.0, 6.0)) * rng.random()
        variant = "A"
        if copy and kind != "invalid" and rng.random() < 0.2:
            variant = "B"
            order.payloads.setdefault("B", _items(rng.choice(("good", "dear")), rng))
        hangs_up = rng.choice((0.0, 0.005, 0.03, 0.2)) if rng.random() < 0.12 else None
        order.sends.append(Send(at_s, variant, hangs_up))
    return order


def _items(kind: str, rng: random.Random) -> list[Item]:
    items: list[Item] = [
        (f"prod_{rng.randint(1, 5)}", rng.randint(1, 3), rng.randint(1, 3000) / 100)
        for _ in range(rng.choice((1, 1, 2, 3)))
    ]
    match kind:
        case "dear":
            items[0] = (items[0][0], rng.randint(1, 2), rng.choice((500.01, 750.5, 12345.67)))
        case "nostock":
            items.append(rng.choice((("scarce_0", 900, 0.01), ("none_1", 1, 0.01))))
            rng.shuffle(items)
        case "race":
            items = [(f"scarce_{rng.randrange(3)}", rng.randint(1, 3), 1.5)]
        case "invalid":
            items[0] = (items[0][0], rng.choice((0, 2000)), 1.0)
        case _:
            pass
    return items


class Clients:
    """They send orders, and read what became of them."""

    def __init__(self, port: int | Sequence[int], orders: Sequence[Order], rng: random.Random) -> None:
        """At one gateway, or each request at any of several."""
        self._ports = [port] if isinstance(port, int) else list(port)
        self._orders = orders
        self._rng = rng
        self.done = asyncio.Event()
        """All orders are sent."""

    async def load(self, per_s: float, at_once: int) -> None:
        """All orders, so many a second, and at most `at_once` keys at a time."""
        places = asyncio.Semaphore(at_once)
        reading = asyncio.create_task(self._read())
        async with asyncio.TaskGroup() as group:
            for order in self._orders:
                await asyncio.sleep(self._rng.expovariate(per_s))
                await places.acquire()
                group.create_task(self._send_all(order, places))
        self.done.set()
        await reading

    async def _send_all(self, order: Order, places: asyncio.Semaphore) -> None:
        try:
            begun = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for send in order.sends:
                    await asyncio.sleep(max(0.0, begun + send.at_s - time.monotonic()))
                    group.create_task(self.send(order, send.variant, send.hangs_up_after_s))
        finally:
            places.release()

    async def repeat(self, order: Order, limit_s: float) -> None:
        """As a client that has to know: the same again, until it is settled."""
        until = time.monotonic() + limit_s
        while not order.is_answered and time.monotonic() < until:
            variants = [each.variant for each in order.answers if each.status in (201, 202, 502)]
            answer = await self.send(order, variants[0] if variants else "A")
            if answer.status == 422:  # another payload was first
                answer = await self.send(order, "B")
            if not order.is_answered:
                await asyncio.sleep(0.3)

    async def send(self, order: Order, variant: str, hangs_up_after_s: float | None = None) -> Answer:
        items = [
            {"product_id": product, "quantity": quantity, "price": price}
            for product, quantity, price in order.payloads[variant]
        ]
        body = json.dumps({"customer_id": customer(order.key, variant), "items": items}).encode()
        head = (
            f"POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nIdempotency-Key: {order.key}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        answer = await self._exchange(variant, head.encode() + body, hangs_up_after_s)
        order.answers.append(answer)
        return answer

    async def _read(self) -> None:
        """Orders that were answered, again and again."""
        while not self.done.is_set():
            await asyncio.sleep(0.2)
            known = [order for order in self._orders if any(each.status == 201 for each in order.answers)]
            for order in self._rng.sample(known[-40:], min(2, len(known[-40:]))):
                await self._read_one(order)

    async def _read_one(self, order: Order) -> None:
        order_id = next(each.document["order_id"] for each in order.answers if each.status == 201)
        head = f"GET /orders/{order_id} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
        answer = await self._exchange("", head.encode())
        if answer.status in (200, 404):
            what = str(answer.document.get("status", "?")) if answer.status == 200 else "404"
            order.reads.append((answer.began, answer.ended, what))

    async def _exchange(self, variant: str, raw: bytes, hangs_up_after_s: float | None = None) -> Answer:
        began, writer = time.monotonic(), None
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._rng.choice(self._ports))
                writer.write(raw)
                if hangs_up_after_s is not None:
                    await asyncio.sleep(hangs_up_after_s)
                    return Answer(variant, began, time.monotonic(), 0)
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = (line.partition(":") for line in lines if line)
                headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                return Answer(variant, began, time.monotonic(), int(first.split()[1]), headers, body)
        except (OSError, EOFError, TimeoutError):
            return Answer(variant, began, time.monotonic(), 0)
        finally:
            if writer is not None:
                writer.close()
