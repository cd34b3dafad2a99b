"""Forgetting old calls: whole sagas at a time, never what may still be asked for, and never unnoticed."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from service_lab import StoppedClock, saga_call

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Handled
from sagagen.runtime.service.barrier.rules import State
from sagagen.runtime.service.sqlite_store import purge
from sagagen.runtime.service.sqlite_store.sql_files import Scripts, prepare
from sagagen.runtime.service.sqlite_store.writer import Writer
from sagagen.runtime.service.store import Turn

RETENTION_S = 100.0
NOW_MS = 1_000_000


@dataclass
class Shelf:
    writer: Writer
    path: Path

    async def write(
        self, saga: str, started_ms: int, direction: Direction = Direction.ACTION, step: str = "put"
    ) -> CallResult:
        write = BarredCall(
            saga_call(step, direction, saga=saga, started_ms=started_ms), b"digest", None, "put"
        )

        async def run(_: Turn) -> Handled:
            return Handled(CallResult(b"done"), write.record(State.DONE, b"done"), keeps_effects=True)

        return await self.writer.write(write, run)

    def sagas(self) -> set[str]:
        return {saga for (saga,) in self.query("SELECT saga FROM sagagen_barrier")}

    def purged_through_ms(self) -> int:
        return self.query("SELECT value FROM sagagen_meta WHERE name = 'purged_through_ms'")[0][0]

    def query(self, sql: str) -> list[tuple]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


@asynccontextmanager
async def opened(folder: Path, clock: StoppedClock) -> AsyncGenerator[Shelf]:
    path = folder / "shelf.db"
    await prepare(path, Scripts(folder / "shelf.sql", "", {}, {}))
    async with Writer.open(path, clock, retention_s=RETENTION_S) as writer:
        yield Shelf(writer, path)


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncGenerator[Shelf]:
    async with opened(tmp_path, StoppedClock(NOW_MS)) as shelf:
        yield shelf


async def test_old_sagas_are_forgotten_and_turned_down_from_then_on(shelf: Shelf):
    for saga, age_s in (("old", 200), ("older", 300), ("young", 100), ("new", 0)):
        await shelf.write(saga, NOW_MS - age_s * 1000)
    await shelf.writer.purge()
    assert shelf.writer.purged_through_ms == NOW_MS - 200_000
    assert shelf.sagas() == {"young", "new"}
    assert shelf.purged_through_ms() == NOW_MS - 200_000
    for direction in Direction:
        outcome = await shelf.write("old", NOW_MS - 200_000, direction)
        assert outcome.error is not None
        assert outcome.error.reason == "FORGOTTEN"
    assert (await shelf.write("young", NOW_MS - 100_000)).is_replay


async def test_the_rows_of_a_saga_go_together(shelf: Shelf):
    for step in ("one", "two"):
        for direction in Direction:
            await shelf.write("old", NOW_MS - 200_000, direction, step)
    await shelf.write("new", NOW_MS)
    await shelf.writer.purge()
    assert shelf.sagas() == {"new"}


async def test_much_is_forgotten_in_batches_and_calls_come_between(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(purge, "BATCH_ROWS", 3)
    await asyncio.gather(*(shelf.write(f"old{n}", NOW_MS - 200_000 + n) for n in range(20)))
    await shelf.write("new", NOW_MS)
    await shelf.writer.purge()
    assert shelf.sagas() == {"new"}
    assert shelf.purged_through_ms() == NOW_MS - 200_000 + 19


async def test_it_is_still_known_after_a_restart(tmp_path: Path):
    async with opened(tmp_path, StoppedClock(NOW_MS)) as shelf:
        await shelf.write("old", NOW_MS - 200_000)
        await shelf.write("new", NOW_MS)
    async with opened(tmp_path, StoppedClock(NOW_MS)) as shelf:
        await shelf.writer.purge()
    assert shelf.sagas() == {"new"}
    async with opened(tmp_path, StoppedClock(NOW_MS)) as shelf:
        assert shelf.writer.purged_through_ms == NOW_MS - 200_000


@pytest.mark.parametrize(("clock_ms", "newest_ms"), [(9 * NOW_MS, NOW_MS), (NOW_MS, 9 * NOW_MS)])
async def test_a_clock_that_runs_ahead_makes_nobody_forget(tmp_path: Path, clock_ms: int, newest_ms: int):
    """The service's own, and an engine's."""
    async with opened(tmp_path, StoppedClock(clock_ms)) as shelf:
        await shelf.write("running", NOW_MS - 50_000)
        await shelf.write("newest", newest_ms)
    async with opened(tmp_path, StoppedClock(clock_ms)) as shelf:
        await shelf.writer.purge()
        await shelf.write("another", NOW_MS - 50_000)
        assert shelf.sagas() == {"running", "newest", "another"}


async def test_stopping_during_a_purge_is_not_missed(tmp_path: Path):
    async with asyncio.timeout(60):
        for _ in range(20):
            async with opened(tmp_path, StoppedClock(NOW_MS)) as shelf:
                purging = asyncio.create_task(shelf.writer.purge())
                await asyncio.sleep(0)
            await purging
