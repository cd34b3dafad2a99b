"""The shop's inventory on one store, and who calls it, in one process: `stored_service.py STORE PLACE`.

STORE is `sqlite`, or an isolation of PostgreSQL; PLACE a folder, or a URL. Each line on standard input is a JSON of
what is to be called (`Load`), each line on standard output one of what came of it. The first line tells that the
service runs. Calls reach the service as a transport brings them, metadata and all, without a network between.
"""

import asyncio
import gc
import hashlib
import json
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from load import percentile
from measuring import new_event_loop

from generated.pb.shop.inventory.v1 import ReserveStockRequest, ReserveStockResponse, StockLine
from handlers.inventory import InventoryService
from sagagen.runtime import Call
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Direction, Isolation, Service, StepKind
from sagagen.runtime.process.project import Project
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.service.postgres_store.preparing import PostgresScripts
from sagagen.runtime.service.postgres_store.store import PostgresStore
from sagagen.runtime.telemetry.metrics import STORE_RETRIES

REPOSITORY = Path(__file__).resolve().parents[1]
RPC = "/shop.inventory.v1.InventoryService/ReserveStock"
LATER_MS = 4_102_444_800_000
AGAIN_S = 0.2
"""After which a call is repeated that was turned away without saying when."""


class Load(NamedTuple):
    """What to call."""

    name: str
    """Of the run; its sagas and orders are called after it."""
    calls: int
    concurrency: int
    products: int
    """How many there are; each call takes one of the next."""
    reads_first: bool
    """The handler reads the stock, computes, and writes it."""


class Inventory(InventoryService):
    """The shop's, and a version of it that loses updates where it may."""

    def __init__(self) -> None:
        self.reads_first = False

    async def reserve_stock(self, request: ReserveStockRequest, call: Call) -> ReserveStockResponse:
        if not self.reads_first:
            return await super().reserve_stock(request, call)
        line = request.lines[0]
        rows = await call.db.fetch(
            "SELECT available, reserved FROM stock WHERE product_id = ?", (line.product_id,)
        )
        await call.db.execute(
            "UPDATE stock SET available = ?, reserved = ? WHERE product_id = ?",
            (rows[0]["available"] - line.quantity, rows[0]["reserved"] + line.quantity, line.product_id),
        )
        await call.db.execute(
            "INSERT INTO reservations (order_id, product_id, quantity) VALUES (?, ?, ?)",
            (request.order_id, line.product_id, line.quantity),
        )
        return ReserveStockResponse()


def main() -> None:
    store, place = sys.argv[1:]
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(store, place))


async def _serve(store: str, place: str) -> None:
    handlers = Inventory()
    async with _opened(store, place, handlers) as host:
        gc.collect()
        gc.freeze()  # as a service's process does
        _tell({"store": store})
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            _tell(await _run(host, handlers, Load(*json.loads(line))))


@asynccontextmanager
async def _opened(store: str, place: str, handlers: Inventory) -> AsyncGenerator[ServiceHost]:
    project = Project.load(REPOSITORY)
    schema = Schema(project.mesh.descriptors.read_bytes())
    service = next(each for each in project.mesh.services if each.name == "inventory")
    if store == "sqlite":
        opened = ServiceHost.open(
            service, handlers, project="shop", schema=schema, data_dir=Path(place), root=project.root
        )
    else:
        opened = ServiceHost.on(
            _postgres(service, place, cast(Isolation, store)),
            service,
            handlers,
            project="shop",
            schema=schema,
            clock=SystemClock(),
        )
    async with opened as host:
        yield host


def _postgres(service: Service, url: str, isolation: Isolation) -> Any:
    scripts = PostgresScripts.read(REPOSITORY / service.schema)
    return PostgresStore.open(service.name, url, scripts, SystemClock(), isolation=isolation)


async def _run(host: ServiceHost, handlers: Inventory, load: Load) -> dict[str, float]:
    handlers.reads_first = load.reads_first
    calls = list(_calls(load))
    ahead = iter(calls)
    took_ms: list[float] = []
    refused = 0

    async def caller() -> None:
        nonlocal refused
        for request, metadata in ahead:
            begun_s = time.perf_counter()
            while True:
                try:
                    await host.handle(RPC, request, metadata, 10.0)
                    break
                except RpcError as error:
                    refused += 1
                    await asyncio.sleep(error.retry_after_s or AGAIN_S)
            took_ms.append((time.perf_counter() - begun_s) * 1000)

    retries = _retries()
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(load.concurrency):
            group.create_task(caller())
    cpu_s, wall_s = time.process_time() - begun_cpu_s, time.perf_counter() - begun_s
    return {
        "calls_per_s": load.calls / wall_s,
        "cpu_ms": cpu_s / load.calls * 1000,
        "p50_ms": percentile(took_ms, 0.5),
        "p99_ms": percentile(took_ms, 0.99),
        "repeated_per_call": (_retries() - retries) / load.calls,
        "refused_per_call": refused / load.calls,
    }


def _calls(load: Load) -> Iterator[tuple[bytes, dict[str, str]]]:
    for number in range(load.calls):
        order = f"{load.name}-{number}"
        # Far from one another, so that what is close in time is not close in a table.
        product = f"bench_{number * 7919 % load.products}"
        call = SagaCall(
            saga_id=hashlib.sha256(order.encode()).hexdigest()[:32],  # as a gateway's, they come in no order
            run="0" * 16,
            started_ms=round(time.time() * 1000),
            step="reserve",
            kind=StepKind.COMPENSATABLE,
            direction=Direction.ACTION,
            attempt=1,
            not_after_ms=LATER_MS,
        )
        request = bytes(ReserveStockRequest(order, [StockLine(product_id=product, quantity=1)]))
        yield request, {**call.to_metadata(), **TraceContext.new().to_metadata()}


def _retries() -> float:
    collected: Sequence[Any] = list(STORE_RETRIES.collect())
    return sum(
        sample.value for metric in collected for sample in metric.samples if sample.name.endswith("_total")
    )


def _tell(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
