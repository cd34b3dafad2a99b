#!/usr/bin/env python
"""Count the functions of the runtime that one service call passes: `python bench/functions.py [--list]`.

Runs the shop's services in this process and makes the calls of an order's steps, as the engine makes them, until
everything is warm. Then counts each entry into a function of the runtime for one call of each step: from the in-memory
transport through host, delivery, barrier, handler and commit to the reply. Coroutines count again when they go on, and
the thread of the database's connection counts too; what the handler itself is made of does not.

Prints one line of JSON. `functions` and `files` are those of CALL; `each` has the functions of all steps.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType

import sagagen.runtime
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Direction, StepKind
from sagagen.runtime.process.project import Project
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.transports.memory import MemoryTransport

CALL = "order/ConfirmOrder"
"""One row changed and read, a message with a nested one answered: between the steps' dearest and their cheapest."""
WARM_UP = 50
LATER_MS = 4_102_444_800_000
REPOSITORY = Path(__file__).resolve().parents[1]
_RUNTIME = str(Path(sagagen.runtime.__file__).parent)


class Profile:
    """The runtime's functions in the order in which they are entered, by any thread of this process."""

    def __init__(self) -> None:
        self.entered: list[CodeType] = []
        self._is_on = False
        threading.setprofile(self._note)  # of the threads that start from now on

    @contextmanager
    def on(self) -> Generator[None]:
        self.entered, self._is_on = [], True
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)
            self._is_on = False

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        if self._is_on and event == "call" and frame.f_code.co_filename.startswith(_RUNTIME):
            self.entered.append(frame.f_code)


Steps = Sequence[tuple[str, Callable[[str], bytes]]]
"""The rpcs of an order's steps, and each one's request for an order."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the functions that one service call passes.")
    parser.add_argument("--list", action="store_true", help=f"print those of {CALL} first, in order")
    given = parser.parse_args()
    counted = asyncio.run(_counted(Profile(), Project.load(REPOSITORY)))
    if given.list:
        for code in counted[CALL]:
            print(f"{_file(code)}:{code.co_firstlineno} {code.co_qualname}")
    figures = {
        "call": CALL,
        "functions": len(counted[CALL]),
        "files": len({code.co_filename for code in counted[CALL]}),
        "each": {name: len(codes) for name, codes in counted.items()},
    }
    print(json.dumps(figures))


def _steps() -> Steps:
    from generated.pb.shop.inventory.v1 import ReserveStockRequest, StockLine
    from generated.pb.shop.order.v1 import ConfirmOrderRequest, CreateOrderRequest, OrderItem
    from generated.pb.shop.payment.v1 import ChargePaymentRequest

    item = OrderItem(product_id="prod_1", quantity=1, unit_price_minor=100)
    line = StockLine(product_id="prod_1", quantity=1)
    return (
        ("order/CreateOrder", lambda order: bytes(CreateOrderRequest(order, "customer", [item]))),
        ("inventory/ReserveStock", lambda order: bytes(ReserveStockRequest(order, [line]))),
        ("payment/ChargePayment", lambda order: bytes(ChargePaymentRequest(order, "customer", 100))),
        ("order/ConfirmOrder", lambda order: bytes(ConfirmOrderRequest(order))),
    )


async def _counted(profile: Profile, project: Project) -> dict[str, list[CodeType]]:
    counted: dict[str, list[CodeType]] = {}
    steps = _steps()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        schema = Schema(project.mesh.descriptors.read_bytes())
        for service in project.mesh.services:
            async with ServiceHost.open(
                service,
                project.handlers(service),
                project=project.mesh.project,
                schema=schema,
                data_dir=Path(folder),
                root=project.root,
            ) as host:
                of_service = [step for step in steps if step[0].startswith(f"{service.name}/")]
                counted |= await _counted_at(profile, host, of_service)
    return counted


async def _counted_at(profile: Profile, host: ServiceHost, steps: Steps) -> dict[str, list[CodeType]]:
    for number in range(WARM_UP):
        for name, request in steps:
            await _call(host, name, request, f"warm-{number}")
    counted: dict[str, list[CodeType]] = {}
    for name, request in steps:
        call = _call(host, name, request, "counted")
        await asyncio.sleep(0.1)  # what the last call left to do has been done
        with profile.on():
            await call
        counted[name] = profile.entered
    return counted


def _call(host: ServiceHost, name: str, request: Callable[[str], bytes], order: str) -> Awaitable[Reply]:
    call = SagaCall(
        saga_id=order,
        run="0" * 16,
        started_ms=1,
        step=name.replace("/", "-"),
        kind=StepKind.COMPENSATABLE,
        direction=Direction.ACTION,
        attempt=1,
        not_after_ms=LATER_MS,
    )
    path = next(path for path in host.paths if path.endswith(name.removeprefix(host.service.name)))
    metadata = {**call.to_metadata(), **TraceContext.new().to_metadata()}
    return MemoryTransport(host).call(path, request(order), metadata=metadata, timeout_s=10.0)


def _file(code: CodeType) -> str:
    return str(Path(code.co_filename).relative_to(_RUNTIME))


if __name__ == "__main__":
    main()
