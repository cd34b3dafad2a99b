"""Forgetting old calls: whole sagas at a time, never what may still be asked for, and never unnoticed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from ledger import PUT, Ledger, put, running
from small_mesh import ManualClock, saga_call
from store_conformance import STORES, StoreFactory, barred, done, opened
from waiting import eventually_async

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service import host as host_module
from sagagen.runtime.service.barrier.calls import CallResult, Handled
from sagagen.runtime.service.sqlite_store import purge
from sagagen.runtime.service.store import ServiceStore, Turn

RETENTION_S = 100.0
NOW_MS = 1_000_000


@dataclass
class Shelf:
    store: ServiceStore

    async def write(
        self, saga: str, started_ms: int, direction: Direction = Direction.ACTION, step: str = "put"
    ) -> CallResult:
        call = barred(saga_call(step, direction, saga=saga, started_ms=started_ms))

        async def handle(_: Turn) -> Handled:
            return done(call)

        return await self.store.write(call, handle)

    async def knows(self, saga: str, started_ms: int, step: str = "put") -> bool:
        """A repeat of its action is answered, and not turned down as forgotten."""
        result = await self.write(saga, started_ms, step=step)
        assert result.is_replay or (result.error is not None and result.error.reason == "FORGOTTEN")
        return result.is_replay


@pytest.fixture(params=STORES.values(), ids=list(STORES))
def make(request: pytest.FixtureRequest) -> StoreFactory:
    return request.param


def shelf_at(
    make: StoreFactory, folder: Path, clock_ms: int = NOW_MS
) -> AbstractAsyncContextManager[ServiceStore]:
    return opened(make, folder, ManualClock(clock_ms), retention_s=RETENTION_S)


@pytest.fixture
async def shelf(make: StoreFactory, tmp_path: Path) -> AsyncGenerator[Shelf]:
    async with shelf_at(make, tmp_path) as store:
        yield Shelf(store)


OLD_MS = NOW_MS - 200_000


async def test_old_sagas_are_forgotten_and_turned_down_from_then_on(shelf: Shelf):
    ages_s = {"old": 200, "older": 300, "young": 100, "new": 0}
    for saga, age_s in ages_s.items():
        await shelf.write(saga, NOW_MS - age_s * 1000)
    await shelf.store.purge()
    assert shelf.store.purged_through_ms == OLD_MS
    known = [saga for saga, age_s in ages_s.items() if await shelf.knows(saga, NOW_MS - age_s * 1000)]
    assert known == ["young", "new"]
    for direction in Direction:
        result = await shelf.write("old", OLD_MS, direction)
        assert result.error is not None
        assert result.error.reason == "FORGOTTEN"


async def test_the_rows_of_a_saga_go_together(shelf: Shelf):
    for step in ("one", "two"):
        for direction in Direction:
            await shelf.write("old", OLD_MS, direction, step)
    await shelf.write("new", NOW_MS)
    await shelf.store.purge()
    assert not await shelf.knows("old", OLD_MS, "one")
    assert not await shelf.knows("old", OLD_MS, "two")
    assert await shelf.knows("new", NOW_MS)


async def test_much_is_forgotten_in_batches_and_calls_come_between(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(purge, "BATCH_ROWS", 3)
    await asyncio.gather(*(shelf.write(f"old{n}", OLD_MS + n) for n in range(20)))
    await shelf.write("new", NOW_MS)
    purging = asyncio.ensure_future(shelf.store.purge())
    between = await asyncio.gather(*(shelf.write(f"new{n}", NOW_MS) for n in range(20)))
    await purging
    assert all(result.error is None for result in between)
    assert shelf.store.purged_through_ms == OLD_MS + 19
    assert not any([await shelf.knows(f"old{n}", OLD_MS + n) for n in range(20)])


async def test_it_is_still_known_after_a_restart(make: StoreFactory, tmp_path: Path):
    async with shelf_at(make, tmp_path) as store:
        await Shelf(store).write("old", OLD_MS)
        await Shelf(store).write("new", NOW_MS)
        await store.purge()
    async with shelf_at(make, tmp_path) as store:
        assert store.purged_through_ms == OLD_MS
        assert not await Shelf(store).knows("old", OLD_MS)


@pytest.mark.parametrize(("clock_ms", "newest_ms"), [(9 * NOW_MS, NOW_MS), (NOW_MS, 9 * NOW_MS)])
async def test_a_clock_that_runs_ahead_makes_nobody_forget(
    make: StoreFactory, tmp_path: Path, clock_ms: int, newest_ms: int
):
    """The service's own, and an engine's."""
    async with shelf_at(make, tmp_path, clock_ms) as store:
        await Shelf(store).write("running", NOW_MS - 50_000)
        await Shelf(store).write("newest", newest_ms)
        await store.purge()
        assert await Shelf(store).knows("running", NOW_MS - 50_000)
        assert await Shelf(store).knows("newest", newest_ms)


async def test_stopping_during_a_purge_is_not_missed(make: StoreFactory, tmp_path: Path):
    async with asyncio.timeout(60):
        for _ in range(20):
            async with shelf_at(make, tmp_path) as store:
                purging = asyncio.ensure_future(store.purge())
                await asyncio.sleep(0)
            await purging


async def test_a_service_forgets_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(host_module, "PURGE_EVERY_S", 0.01)
    now_ms = 10 * 365 * 24 * 3600 * 1000
    old = saga_call(saga="old", started_ms=1, attempt=2)
    async with running(tmp_path, Ledger(), clock=ManualClock(now_ms)) as host:
        await host.handle(PUT.path, put("a"), old.to_metadata(), 60.0)
        await host.handle(PUT.path, put("b"), saga_call(saga="new", started_ms=now_ms).to_metadata(), 60.0)
        store = host._store  # pyright: ignore[reportPrivateUsage] - nobody else reports what it forgot
        await eventually_async("the purge", lambda: store.purged_through_ms)
        with pytest.raises(RpcError, match="FORGOTTEN"):
            await host.handle(PUT.path, put("a"), old._replace(attempt=1).to_metadata(), 60.0)
