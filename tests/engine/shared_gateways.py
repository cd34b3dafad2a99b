"""Gateways' engines in one process, on one saga log in PostgreSQL."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_world import World
from shared_log import log_url, shared_log
from small_mesh import SAGA_ID
from waiting import eventually_async

from sagagen.runtime.clock import Clock
from sagagen.runtime.engine.shared import SharedEngine
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.postgres.connection import connect
from sagagen.runtime.postgres_log.log import PostgresLog
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.journal import JournalUnavailable
from sagagen.runtime.saga.logged import LoggedSaga

LONG_S = 60.0


@dataclass
class Slow(World):
    """Calls wait until they are let go."""

    def __post_init__(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        self.reached.set()
        await self.go.wait()
        return await super().call(path, request, metadata=metadata, timeout_s=timeout_s)


@dataclass
class Gateway:
    log: PostgresLog
    engine: SharedEngine

    async def saga(self, saga_id: str = SAGA_ID) -> LoggedSaga:
        found = await self.log.find(saga_id)
        assert found
        return found

    async def ends(self, saga_id: str = SAGA_ID) -> SagaStatus:
        async def over() -> SagaStatus | None:
            head = await self.log.head(saga_id)
            return head.status if head and not head.status.is_active else None

        status = await eventually_async(f"saga {saga_id} ends", over, despite=(JournalUnavailable,))
        assert status
        return status

    async def stuck(self) -> None:
        assert await self.ends() is SagaStatus.STUCK
        await eventually_async("its task ends", lambda: is_idle(self.engine))

    def freeze(self) -> None:
        """As a process that is stopped: it renews no lease, and hears nothing."""
        looking = self.engine._looking  # pyright: ignore[reportPrivateUsage]
        for task in asyncio.all_tasks():
            if task is looking or task.get_name() == f"saga log lease {self.log.life}":
                task.cancel()


async def is_idle(engine: SharedEngine) -> bool:
    return engine.running == 0


@asynccontextmanager
async def gateway(
    folder: Path,
    definition: Saga,
    world: World,
    *,
    lease_s: float = LONG_S,
    clock: Clock | None = None,
    **options: Any,
) -> AsyncGenerator[Gateway]:
    async with shared_log(folder, lease_s=lease_s, clock=clock) as log:
        engine = SharedEngine(
            sagas=[definition], log=log, transports={"one": world}, clock=log.clock, **options
        )
        async with engine:
            yield Gateway(log, engine)


@asynccontextmanager
async def two(
    folder: Path, definition: Saga, world: World, **options: Any
) -> AsyncGenerator[tuple[Gateway, Gateway]]:
    async with (
        gateway(folder, definition, world, **options) as one,
        gateway(folder, definition, world, **options) as other,
    ):
        yield one, other


async def end_life(folder: Path, gateway: Gateway) -> None:
    connection = await connect(log_url(folder), "test")
    try:
        await connection.execute(
            "UPDATE sagagen_engine.life SET until = now() - interval '1 s' WHERE life = $1",
            gateway.log.life,
        )
    finally:
        await connection.close()
