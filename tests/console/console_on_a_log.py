"""A console on a log at rest that many sagas fill: nothing drives them, so that what its pages show stays as it is."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
from big_log import fill
from small_mesh import step
from starlette.applications import Starlette

from generated.mesh import MESH
from generated.sagas.place_order_v1 import PLACE_ORDER_V1
from sagagen.runtime.admin.gate import TokenGate
from sagagen.runtime.admin.listener import admin_app
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.orders import Orders
from sagagen.runtime.admin.routes import SagaAdmin, saga_routes
from sagagen.runtime.audit.auditor import Auditor
from sagagen.runtime.audit.entry import AuditEntry, Result
from sagagen.runtime.console.desk import Desk, Reach
from sagagen.runtime.console.mount import console_at
from sagagen.runtime.engine.at_rest import SagasAtRest
from sagagen.runtime.health import Readiness
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Branch, Delay, ForEach, Parallel, Saga, StepKind, Wait
from sagagen.runtime.rpc.transport import ReplicaStanding
from sagagen.runtime.saga.definitions import Definitions

ORIGIN = "http://localhost:8081"
EVIL = '<script>alert("x")</script>'

DELIVER = replace(
    PLACE_ORDER_V1,
    name="deliver",
    digest="d2",
    steps=(
        step("create_order", service="order"),
        Parallel(
            "prepare",
            StepKind.COMPENSATABLE,
            (
                Branch(
                    "kitchen", (replace(step("cook", service="kitchen"), for_each=ForEach(lambda _: [])),)
                ),
                Branch(
                    "courier",
                    (
                        step("find_courier", service="courier"),
                        Wait("courier_there", StepKind.COMPENSATABLE, "arrived", within_s=900.0),
                    ),
                ),
            ),
        ),
        step("pay", StepKind.PIVOT, service="payment"),
        Delay("let_it_cool", StepKind.RETRIABLE, after_s=300.0),
        step("hand_over", StepKind.RETRIABLE, service="courier"),
    ),
)
"""Branches, a loop, a wait and a delay."""


@asynccontextmanager
async def app_on_a_log(folder: Path, *, sagas: int, kept: tuple[Saga, ...]) -> AsyncGenerator[Starlette]:
    """`kept` are the definitions that the code has."""
    async with SagaLog.open(folder / "saga-log.db") as log, Auditor.open(log.audit) as auditor:
        begin_ms = await fill(log, sagas)
        await log.audit.record(
            [
                AuditEntry(
                    begin_ms,
                    "ann",
                    "retry",
                    Result.DONE,
                    f"{1:032x}",
                    reason="payment is back",
                    scheme="staff",
                ),
                AuditEntry(
                    begin_ms + 1, "", "list", Result.UNKNOWN, reason="no token", address="10.0.0.7", count=12
                ),
                AuditEntry(
                    begin_ms + 2, EVIL, "resolve", Result.DENIED, f"{2:032x}", reason=EVIL, scheme="staff"
                ),
            ]
        )
        schema, readiness = Schema(MESH.descriptors.read_bytes()), Readiness({})
        control = SagasAtRest(log, Definitions(kept))
        orders = Orders(SagaOperations(control, lambda: schema), auditor)
        gate = TokenGate("127.0.0.1")
        desk = Desk(MESH, gate, orders, control, lambda: schema, readiness, _services())
        yield admin_app(readiness, [*saga_routes(SagaAdmin(orders, gate)), console_at(desk)])


def _services() -> Mapping[str, Reach]:
    async def well() -> str:
        return ""

    async def ill() -> str:
        return "connection refused"

    def standing() -> list[ReplicaStanding]:
        return [ReplicaStanding("10.1.0.4:9001", False, 3), ReplicaStanding("10.1.0.5:9001", True, 0)]

    return {
        "order": Reach(("10.1.0.4:9001", "10.1.0.5:9001"), well, standing),
        "payment": Reach(("payment:9003",), ill),
    }


@asynccontextmanager
async def console_on_a_log(
    folder: Path, *, sagas: int = 100, kept: tuple[Saga, ...] = (PLACE_ORDER_V1, DELIVER)
) -> AsyncGenerator[httpx.AsyncClient]:
    async with app_on_a_log(folder, sagas=sagas, kept=kept) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            yield client
