"""The engine with the shop's own services, on their real databases: its process is killed around every call."""

import asyncio
import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from shop_mesh import ORDER_ID, PLACE_ORDER, order
from small_mesh import running_engine, running_services

from generated.mesh import MESH
from generated.pb.shop.order.v1 import OrderStatus
from sagagen.runtime.rpc.transport import Reply, Transport
from sagagen.runtime.saga.events import SagaStatus


@dataclass
class Killer:
    """Stops the engine's process before or after its n-th call: nothing is answered any more from then on."""

    at: int
    is_before: bool
    seen: int = 0
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def pass_by(self, *, is_before: bool) -> None:
        if self.dead.is_set() or (self.seen == self.at and is_before is self.is_before):
            self.dead.set()
            await asyncio.Event().wait()


@dataclass
class Wire:
    to: Transport
    killer: Killer

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        self.killer.seen += 1
        await self.killer.pass_by(is_before=True)
        reply = await self.to.call(path, request, metadata=metadata, timeout_s=timeout_s)
        await self.killer.pass_by(is_before=False)
        return reply


async def killed_life(log: Path, transports: Mapping[str, Transport], killer: Killer, price: float) -> None:
    """Accept and run until killed; what the kill leaves of the log is beside it, in `left`."""
    wires = {name: Wire(transport, killer) for name, transport in transports.items()}
    async with running_engine(log, [PLACE_ORDER], wires, grace_s=0.0) as engine:
        await engine.accept(order(price))
        idle = asyncio.create_task(engine.wait_until_idle())
        dead = asyncio.create_task(killer.dead.wait())
        await asyncio.wait([idle, dead], return_when=asyncio.FIRST_COMPLETED)
        shutil.copytree(log, log.with_name("left"))
        for task in (idle, dead):
            task.cancel()


def rows(database: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 7))
@pytest.mark.parametrize(("price", "end"), [(50.0, SagaStatus.COMPLETED), (600.0, SagaStatus.COMPENSATED)])
async def test_an_order_ends_the_same_wherever_the_engine_is_killed(
    tmp_path: Path, price: float, end: SagaStatus, at: int, is_before: bool
) -> None:
    data_dir = tmp_path / "services"
    data_dir.mkdir()
    async with running_services(MESH, data_dir) as transports:
        await killed_life(tmp_path / "log", transports, Killer(at, is_before), price)
        async with running_engine(tmp_path / "left", [PLACE_ORDER], transports) as engine:
            await engine.wait_until_idle()
            view = await engine.describe(ORDER_ID)
    assert view is not None
    assert view.status is end
    is_kept = end is SagaStatus.COMPLETED
    assert rows(data_dir / "order.db", "SELECT order_id, status FROM orders") == [
        (ORDER_ID, int(OrderStatus.CONFIRMED if is_kept else OrderStatus.CANCELLED))
    ]
    assert len(rows(data_dir / "payment.db", "SELECT * FROM payments")) == is_kept
    reserved = rows(data_dir / "inventory.db", "SELECT sum(reserved) FROM stock")
    assert reserved == [(2 if is_kept else 0,)]
