#!/usr/bin/env python
"""What it costs an engine that somebody looks on: `python bench/watched.py`.

Runs orders of the shop through an engine on its log, whose services answer at once, so that all else is the engine's.
Nobody looks during half of the rounds; during the others somebody opens a page of the console every --every seconds of
this process's processor time, all pages by turns: as often as that on a machine where the engine is busy and alone.
Prints one line of JSON: processor time a saga with and without, their ratio, and what each page takes of a processor's
time while nothing else runs; `share` is that part of a processor at a page every --every seconds. The rounds take
turns, and the median of each counts. --kept sagas are in the log before.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = (
    "/",
    "/sagas?status=ALL",
    "/definition",
    "/versions",
    "/services",
    "/audit",
    "/sagas/{id}",
    "/sagas/groups",
)
AT_ONCE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sagas", type=int, default=2000, metavar="N", help="of each round")
    parser.add_argument(
        "--rounds", type=int, default=7, metavar="N", help="with somebody, and as many without"
    )
    parser.add_argument("--kept", type=int, default=5000, metavar="N", help="sagas in the log before")
    parser.add_argument("--every", type=float, default=2.0, metavar="S", help="seconds between two pages")
    given = parser.parse_args()
    sys.path.insert(0, str(REPOSITORY))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        print(json.dumps(asyncio.run(_measured(Path(folder), given))))


async def _measured(folder: Path, given: argparse.Namespace) -> dict[str, object]:
    from generated.mesh import MESH
    from sagagen.runtime.engine.embedded import EmbeddedEngine
    from sagagen.runtime.log.store import SagaLog

    transports = {service.name: _Services() for service in MESH.services}
    async with (
        SagaLog.open(folder / "saga-log.db") as log,
        EmbeddedEngine(sagas=MESH.sagas, log=log, transports=transports, random=Random(1)) as engine,
    ):
        orders = _Orders(engine)
        looker = _Looker(await _console(log, engine), given.every, orders)
        await orders.place(given.kept)
        await looker.look_at_all()
        alone, watched = list[float](), list[float]()
        for _ in range(given.rounds):
            for costs, looks in ((alone, False), (watched, True)):
                looking = asyncio.create_task(looker.look_on(looks=looks))
                costs.append(await _cpu_ms(lambda: orders.place(given.sagas)) / given.sagas)
                looking.cancel()
                with suppress(asyncio.CancelledError):
                    await looking
        page_cpu_ms = await looker.alone_cpu_ms()
    each_ms = sum(page_cpu_ms.values()) / len(page_cpu_ms)
    return {
        "sagas": given.sagas,
        "kept": given.kept,
        "every_s": given.every,
        "pages": looker.count,
        "alone_cpu_ms": round(median(alone), 3),
        "watched_cpu_ms": round(median(watched), 3),
        "ratio": round(median(watched) / median(alone), 3),
        "page_cpu_ms": page_cpu_ms,
        "share": round(each_ms / (given.every * 1000), 4),
    }


async def _cpu_ms(work: Callable[[], Any]) -> float:
    began_s = time.process_time()
    await work()
    return (time.process_time() - began_s) * 1000


class _Services:
    async def call(self, path: str, request: bytes, **_: object) -> Any:
        from sagagen.runtime.rpc.transport import Reply

        return Reply(b"")


class _Orders:
    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._number = 0
        self.last = ""

    async def place(self, count: int) -> None:
        """And wait for their ends."""
        left = iter(range(count))

        async def client() -> None:
            for _ in left:
                await self._place()

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        await self._engine.wait_until_idle()

    async def _place(self) -> None:
        from generated.mesh import MESH
        from generated.pb.shop.checkout.v1 import CartItem, PlaceOrderRequest
        from sagagen.runtime.engine.port import Acceptance, Overloaded
        from sagagen.runtime.rpc.trace import TraceContext

        self._number += 1
        saga_id = f"{self._number:032x}"
        items = [CartItem(product_id="prod_1", quantity=2, price=5.0)]
        order = bytes(PlaceOrderRequest(customer_id="cust_1", items=items))
        acceptance = Acceptance(
            MESH.sagas[0], saga_id, "anonymous", saga_id, b"f" * 32, order, TraceContext.new()
        )
        while True:
            try:
                await self._engine.accept(acceptance)
                break
            except Overloaded as error:  # on a machine that does other things as well
                await asyncio.sleep(error.retry_after_s)
        await self._engine.wait(saga_id, 10.0)
        self.last = saga_id


class _Looker:
    """Asks for pages as a browser does; its own work is next to nothing."""

    def __init__(self, app: Any, every_s: float, orders: _Orders) -> None:
        self._app = app
        self._every_s = every_s
        self._orders = orders
        self.count = 0

    async def look_at_all(self) -> None:
        """Once before anything is measured: the console is imported when it is first looked at."""
        for page in PAGES:
            await self._look(page)

    async def alone_cpu_ms(self) -> dict[str, float]:
        """Of each page, while the engine has nothing to do."""
        found: dict[str, float] = {}
        for page in PAGES:
            times = [await _cpu_ms(partial(self._look, page)) for _ in range(5)]
            found[page] = round(median(times), 1)
        return found

    async def look_on(self, *, looks: bool) -> None:
        """`looks`: otherwise only the clock is read, which costs something as well."""
        due_s = time.process_time()
        while True:
            if looks and time.process_time() >= due_s:
                await self._look(PAGES[self.count % len(PAGES)])
                self.count += 1
                due_s = time.process_time() + self._every_s
            await asyncio.sleep(0.05)

    async def _look(self, page: str) -> None:
        path, _, query = page.replace("{id}", self._orders.last).partition("?")
        is_page = path != "/sagas/groups"
        status = await _get(self._app, f"/console{path}" if is_page else path, query)
        assert status == 200, (page, status)


async def _get(app: Any, path: str, query: str) -> int:
    """The status of an answer, read to its end."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"localhost:8081")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8081),
    }
    await app(scope, receive, send)
    return statuses[0]


async def _console(log: Any, engine: Any) -> Any:
    from generated.mesh import MESH
    from sagagen.runtime.admin.gate import TokenGate
    from sagagen.runtime.admin.listener import admin_app
    from sagagen.runtime.admin.operations import SagaOperations
    from sagagen.runtime.admin.orders import Orders
    from sagagen.runtime.admin.routes import SagaAdmin, saga_routes
    from sagagen.runtime.audit.auditor import Auditor
    from sagagen.runtime.console.desk import Desk
    from sagagen.runtime.console.mount import console_at
    from sagagen.runtime.health import Readiness
    from sagagen.runtime.messages.schema import Schema

    schema, readiness, gate = Schema(MESH.descriptors.read_bytes()), Readiness({}), TokenGate("127.0.0.1")
    orders = Orders(SagaOperations(engine, lambda: schema, engine.deliver), Auditor(log.audit))
    desk = Desk(MESH, gate, orders, engine, lambda: schema, readiness)
    return admin_app(readiness, [*saga_routes(SagaAdmin(orders, gate)), console_at(desk)])


if __name__ == "__main__":
    main()
