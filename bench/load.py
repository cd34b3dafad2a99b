"""The load: connections that post orders, and one watcher that sees in the log when their sagas are over."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

CHARGED_PRICE = 50.0
DECLINED_PRICE = 600.0
"""More than a payment may be."""
WATCH_ALONE_S = 0.0005
WATCH_S = 0.01
"""Seconds between two looks into the log; as short as it can be where latency is measured."""
REFUSED_S = 0.05
"""Seconds after which an order is posted again that was refused, since the stack had too much to do."""
GIVE_UP_S = 300.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to post."""

    count: int
    concurrency: int
    declined: float
    """Share of orders that are too expensive, from 0 to 1; spread evenly."""
    is_closed: bool
    """A connection posts its next order when the saga of the last one is over, and not as soon as it is accepted."""
    prefix: str
    """Of the idempotency keys."""

    def orders(self) -> Iterator[tuple[str, float]]:
        """Key and price."""
        for number in range(self.count):
            is_declined = int((number + 1) * self.declined) > int(number * self.declined)
            yield f"{self.prefix}-{number}", DECLINED_PRICE if is_declined else CHARGED_PRICE


@dataclass(slots=True)
class Times:
    """When things happened, in seconds of the monotonic clock, by idempotency key."""

    posted: dict[str, float] = field(default_factory=dict[str, float])
    accepted: dict[str, float] = field(default_factory=dict[str, float])
    ended: dict[str, float] = field(default_factory=dict[str, float])

    def accept_ms(self) -> list[float]:
        return [(at - self.posted[key]) * 1000 for key, at in self.accepted.items()]

    def end_to_end_ms(self) -> list[float]:
        return [(self.ended[key] - at) * 1000 for key, at in self.posted.items()]


@dataclass(frozen=True, slots=True)
class Target:
    """A stack that takes orders."""

    port: int
    path: str
    log: Path
    ended_sql: str
    """Selects (sequence number, idempotency key) of the sagas that are over, after the sequence number `?`."""


class Watcher:
    """Follows the log's end. Its reading costs the stack nothing but a shared lock on the WAL."""

    def __init__(self, target: Target, times: Times, interval_s: float) -> None:
        self._target = target
        self._times = times
        self._interval_s = interval_s
        self._after = 0
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        with closing(sqlite3.connect(f"file:{self._target.log}?mode=ro", uri=True)) as log:
            while True:
                await self._look(log)
                await asyncio.sleep(self._interval_s)

    async def until(self, is_reached: Callable[[], bool]) -> None:
        """Raises TimeoutError if it is not in time."""
        async with asyncio.timeout(GIVE_UP_S), self._changed:
            await self._changed.wait_for(is_reached)

    async def _look(self, log: sqlite3.Connection) -> None:
        rows = log.execute(self._target.ended_sql, (self._after,)).fetchall()
        if not rows:
            return
        now = time.perf_counter()
        self._after = max(number for number, _ in rows)
        self._times.ended.update((key, now) for _, key in rows)
        async with self._changed:
            self._changed.notify_all()


async def drive(target: Target, plan: Plan) -> Times:
    """Post every order and wait until every saga is over."""
    times = Times()
    watcher = Watcher(target, times, WATCH_ALONE_S if plan.concurrency == 1 else WATCH_S)
    watching = asyncio.create_task(watcher.run())
    orders = plan.orders()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(plan.concurrency):
                group.create_task(_post_all(target, plan, orders, times, watcher))
        await watcher.until(lambda: times.accepted.keys() <= times.ended.keys())
    finally:
        watching.cancel()
    return times


async def post_all(target: Target, plan: Plan) -> None:
    """Post every order and wait until each is accepted, not until its saga is over."""
    times, orders = Times(), plan.orders()
    async with asyncio.TaskGroup() as group:
        for _ in range(plan.concurrency):
            group.create_task(_post_all(target, plan, orders, times, Watcher(target, times, WATCH_S)))


async def _post_all(
    target: Target, plan: Plan, orders: Iterator[tuple[str, float]], times: Times, watcher: Watcher
) -> None:
    async with connected(target.port) as (reader, writer):
        for key, price in orders:
            posted = time.perf_counter()
            request = order_request(target.path, key, price)
            writer.write(request)
            while not await is_accepted(reader):
                await asyncio.sleep(REFUSED_S)
                writer.write(request)
            times.posted[key], times.accepted[key] = posted, time.perf_counter()
            if plan.is_closed:
                await watcher.until(lambda key=key: key in times.ended)


@asynccontextmanager
async def connected(port: int) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def order_request(path: str, key: str, price: float) -> bytes:
    item = {"product_id": "prod_1", "quantity": 1, "price": price}
    body = json.dumps({"customer_id": "cust_123", "items": [item]}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"x-idempotency-key: {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def is_accepted(reader: asyncio.StreamReader) -> bool:
    """Read an answer; false if the stack has too much to do. Raises RuntimeError for any other that is no 2xx."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    body = await reader.readexactly(length)
    if not head.startswith((b"HTTP/1.1 2", b"HTTP/1.1 503")):
        raise RuntimeError(f"the stack answered {(head + body)[:500]!r}")
    return head.startswith(b"HTTP/1.1 2")


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
