"""What the conformance suite needs of an engine, and one entry for each engine that there is.

A second implementation is one more entry in RUNTIMES: `test_runtime_conformance.py` runs over all of them, and looks at
an engine through its port only.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from engine_world import engine, shared_engine
from shared_log import shared_log
from small_mesh import SAGA_ID, ManualClock
from waiting import eventually_async

from sagagen.runtime.engine.moving import MovingSagas
from sagagen.runtime.engine.port import Leaving, MovableRuntime, SagaRuntime
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.rpc.transport import Transport
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.view import SagaView

LONG_S = 60.0
"""In seconds: longer than anything takes, also on a busy machine."""


class RuntimeFactory(Protocol):
    """Opens an engine; the same folder again is the same sagas. `world` is its service `one`."""

    def __call__(
        self,
        folder: Path,
        definition: Saga,
        world: Transport,
        clock: ManualClock,
        *,
        max_running: int = 10_000,
        grace_s: float = LONG_S,
    ) -> AbstractAsyncContextManager[MovableRuntime]: ...


@asynccontextmanager
async def _embedded(
    folder: Path,
    definition: Saga,
    world: Transport,
    clock: ManualClock,
    *,
    max_running: int = 10_000,
    grace_s: float = LONG_S,
) -> AsyncGenerator[MovableRuntime]:
    async with SagaLog.open(folder / "saga-log.db") as log:
        opened = engine(definition, log, world, clock, max_running=max_running, grace_s=grace_s)
        async with opened as runtime:
            yield runtime


@asynccontextmanager
async def _shared(
    folder: Path,
    definition: Saga,
    world: Transport,
    clock: ManualClock,
    *,
    max_running: int = 10_000,
    grace_s: float = LONG_S,
) -> AsyncGenerator[MovableRuntime]:
    async with shared_log(folder) as log:
        opened = shared_engine(definition, log, world, clock, max_running=max_running, grace_s=grace_s)
        async with opened as runtime:
            yield runtime


@asynccontextmanager
async def _restate(
    folder: Path,
    definition: Saga,
    world: Transport,
    clock: ManualClock,
    *,
    max_running: int = 10_000,
    grace_s: float = LONG_S,
) -> AsyncGenerator[MovableRuntime]:
    from restate_runtime import restate_engine

    async with restate_engine(folder, definition, world, clock, max_running, grace_s) as runtime:
        yield runtime


class NeverDone(MovingSagas):
    """There is always something left."""

    async def leaving(self) -> Leaving:
        return Leaving("log", 1, None)


@asynccontextmanager
async def _moving(
    folder: Path,
    definition: Saga,
    world: Transport,
    clock: ManualClock,
    *,
    max_running: int = 10_000,
    grace_s: float = LONG_S,
) -> AsyncGenerator[MovableRuntime]:
    """From one log to the other, and at each restart back again."""
    folders = folder / "one", folder / "other"
    for each in folders:
        each.mkdir(exist_ok=True)
    left, entered = folders if (moved := folder / "moved").exists() else reversed(folders)
    moved.unlink() if moved.exists() else moved.touch()
    opened = partial(_embedded, max_running=max_running, grace_s=grace_s)
    async with (
        opened(left, definition, world, clock) as old,
        opened(entered, definition, world, clock) as new,
        NeverDone(old, new, name="log", max_running=max_running, clock=clock) as runtime,
    ):
        yield runtime


RUNTIMES: dict[str, RuntimeFactory] = {
    "embedded": _embedded,
    "shared": _shared,
    "restate": _restate,
    "moving": _moving,
}


async def until(runtime: SagaRuntime, holds: Callable[[SagaView], bool], saga_id: str = SAGA_ID) -> SagaView:
    """The saga, once that holds of it."""
    view = await eventually_async(
        f"saga {saga_id}", lambda: runtime.describe(saga_id), lambda view: view is not None and holds(view)
    )
    assert view
    return view


async def over(runtime: SagaRuntime, saga_id: str = SAGA_ID) -> SagaStatus:
    """How the saga stands once it is not active any more."""
    return (await until(runtime, lambda view: not view.status.is_active, saga_id)).status
