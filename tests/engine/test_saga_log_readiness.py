"""What a log that can't be written says on /readyz: a disk that is full, a thread that is blocked, one that is dead."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from stack import Stack, keyed, order_body
from test_saga_log_file import accepted

from sagagen.runtime.admin.listener import admin_app
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.health import Readiness
from sagagen.runtime.log.figures import LogFigures
from sagagen.runtime.log.group_commit import GroupWriter
from sagagen.runtime.log.probe import ThreadProbe
from sagagen.runtime.log.reserve import Reserve
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.sqlite.database import Database

LIMIT_S = 60
READY = (200, "ready\n")


@dataclass
class Opened:
    log: SagaLog
    databases: dict[str, Database]
    reserve: Reserve
    client: httpx.AsyncClient

    async def readyz(self) -> tuple[int, str]:
        response = await self.client.get("/readyz")
        return response.status_code, response.text

    async def becomes(self, answer: tuple[int, str]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while (found := await self.readyz()) != answer:
                assert found[0] == 200 or answer[0] == 200, found


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[Opened]:
    """A log as `SagaLog.open` makes it, with its parts at hand."""
    path = folder / "saga-log.db"
    async with SagaLog.open(path):
        pass
    async with AsyncExitStack() as stack:
        databases = {
            "writing": await stack.enter_async_context(Database(path)),
            "reading": await stack.enter_async_context(Database(path, is_read_only=True)),
        }
        writer = GroupWriter(databases["writing"], gather_s=LIMIT_S)
        task = asyncio.create_task(writer.run())
        reserve = Reserve(path)
        probes = [ThreadProbe(database, name, within_s=0.5) for name, database in databases.items()]
        figures = LogFigures(lambda: Database(path, is_read_only=True), SystemClock().wall_ms)
        log = SagaLog(path, writer, databases["reading"], reserve, probes, figures=figures)
        transport = httpx.ASGITransport(admin_app(Readiness({"saga log": log.check})))
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://localhost")
        )
        yield Opened(log, databases, reserve, client)
        writer.close()
        await task


async def test_no_commit_waits_for_the_rows_of_a_saga_that_rests(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        here.log.gather_for(lambda _: 6)
        wake = asyncio.Event()
        resting = asyncio.create_task(here.log.rest(LIMIT_S, wake))
        await asyncio.sleep(0)
        first = [asyncio.create_task(here.log.accept(accepted(f"saga {n}"))) for n in range(2)]
        await asyncio.sleep(0.05)
        assert here.log.commits == 0, "two of five"
        assert await here.log.accept(accepted("third"))
        await asyncio.gather(*first)
        assert here.log.commits == 1
        here.log.gather_for(lambda _: 3)
        wake.set()
        await resting
        late = asyncio.create_task(here.log.accept(accepted("fourth")))
        await asyncio.sleep(0.05)
        assert here.log.commits == 1, "one of three, since it rests no more"
        assert await here.log.accept(accepted("fifth"))
        await late


async def test_a_full_disk_is_in_the_way(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        await here.becomes(READY)
        here.reserve.is_spent = True
        await here.becomes((503, "not ready\nsaga log: the disk is full\n"))
        await here.log.restore_reserve()
        await here.becomes(READY)


@pytest.mark.parametrize("thread", ["writing", "reading"])
async def test_a_blocked_thread_is_in_the_way_until_it_goes_on(tmp_path: Path, thread: str) -> None:
    gate = threading.Event()
    async with opened(tmp_path) as here:
        await here.becomes(READY)
        blocked = asyncio.create_task(here.databases[thread].in_thread(lambda _: gate.wait(LIMIT_S)))
        try:
            says = f"its {thread} thread does not answer within 0.5 s"
            await here.becomes((503, f"not ready\nsaga log: {says}\n"))
            assert await here.log.check() == says, "however often it is asked"
        finally:
            gate.set()
        await blocked
        await here.becomes(READY)


@pytest.mark.parametrize("thread", ["writing", "reading"])
async def test_a_dead_thread_is_in_the_way(tmp_path: Path, thread: str) -> None:
    async with opened(tmp_path) as here:
        await here.databases[thread].close()
        status, text = await here.readyz()
        assert (status, f"saga log: its {thread} thread has ended" in text) == (503, True)


async def test_all_that_is_in_the_way_is_said(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        here.reserve.is_spent = True
        for database in here.databases.values():
            await database.close()
        assert [said.split(" (")[0] for said in (await here.log.check()).split("; ")] == [
            "the disk is full",
            "its writing thread has ended",
            "its reading thread has ended",
        ]


async def test_an_open_log_asks_both_of_its_threads(tmp_path: Path) -> None:
    async with SagaLog.open(tmp_path / "saga-log.db") as log:
        assert await log.check() == ""
        assert await log.accept(accepted())
        assert await log.check() == ""
    said = await log.check()
    assert [f"its {thread} thread has ended" in said for thread in ("writing", "reading")] == [True, True]


async def test_a_check_that_fails_is_in_the_way_and_hides_no_other() -> None:
    async def fails() -> str:
        raise OSError("no such device")

    async def hangs() -> str:
        await asyncio.Event().wait()
        return ""

    assert await Readiness({"one": fails, "two": hangs}).problems() == [
        "one: OSError: no such device",
        "two: no answer within 2 s",
    ]


@pytest.mark.slow
def test_a_gateway_whose_log_is_locked_by_another_program_is_not_ready(stack: Stack) -> None:
    stack.start_each()
    is_seen = threading.Event()

    def place_orders() -> None:
        while not is_seen.is_set():  # each waits some seconds for the lock, and is refused
            httpx.post(f"{stack.url}/orders", json=order_body(), headers=keyed("locked"), timeout=LIMIT_S)

    with (
        closing(sqlite3.connect(stack.data_dir / "saga-log.db", isolation_level=None)) as other,
        httpx.Client(base_url=stack.admin_url, timeout=LIMIT_S) as admin,
    ):
        other.execute("BEGIN IMMEDIATE")
        placing = threading.Thread(target=place_orders)
        placing.start()
        ends_s = time.monotonic() + LIMIT_S
        while (seen := admin.get("/readyz").text) == "ready\n" and time.monotonic() < ends_s:
            pass
        is_seen.set()
        other.execute("ROLLBACK")
        placing.join()
        assert seen == "not ready\nsaga log: its writing thread does not answer within 1.5 s\n"
        assert admin.get("/readyz").text == "ready\n"
