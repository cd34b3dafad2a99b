"""Databases in memory: what outlives a process, and what does not."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from generated.mesh import MESH
from generated.pb.shop.inventory.v1 import ReserveStockRequest, ReserveStockResponse
from handlers.inventory import InventoryService
from sagagen.runtime import Call
from sagagen.runtime.log.transaction import commit
from sagagen.runtime.sqlite.database import Database, begin_at_once
from sagagen.testing import saga_test, virtual_time
from sagagen.testing.databases import MemoryDatabases
from sagagen.testing.processes import Process
from sagagen.testing.virtual_time import Life
from sagagen.testing.world import World

PATH = Path("/nowhere/a.db")


@asynccontextmanager
async def opened(
    databases: MemoryDatabases, life: Life, *, is_read_only: bool = False
) -> AsyncGenerator[Database]:
    async with databases.of(life, "a")(PATH, is_read_only=is_read_only) as database:
        yield database


async def make(databases: MemoryDatabases) -> None:
    async with opened(databases, Life(0)) as database:
        await database.run_script("CREATE TABLE t (n INTEGER)")


def insert(connection: sqlite3.Connection) -> None:
    begin_at_once(connection)
    connection.execute("INSERT INTO t VALUES (1)")


def count(databases: MemoryDatabases) -> int:
    return databases["a"].execute("SELECT count(*) FROM t")[0][0]


@virtual_time
async def test_what_a_process_has_not_committed_is_gone_when_it_dies() -> None:
    databases, life = MemoryDatabases(), Life(1)
    await make(databases)
    database = await databases.of(life, "a")(PATH).__aenter__()
    await database.in_thread(insert)
    await database.in_thread(commit)
    await database.in_thread(insert)
    late = asyncio.ensure_future(database.in_thread(commit))
    life.end()
    await asyncio.sleep(60)
    assert not late.done()
    assert count(databases) == 1
    databases.close()


def read(connection: sqlite3.Connection) -> int:
    """In a view that stays open."""
    if not connection.in_transaction:
        connection.execute("BEGIN")
    return connection.execute("SELECT count(*) FROM t").fetchone()[0]


def end(connection: sqlite3.Connection) -> None:
    connection.execute("ROLLBACK")


@virtual_time
async def test_nobody_sees_what_is_not_committed_and_who_reads_and_writes_wait_for_each_other() -> None:
    databases, loop = MemoryDatabases(), asyncio.get_running_loop()
    await make(databases)
    async with (
        opened(databases, Life(1)) as writer,
        opened(databases, Life(1), is_read_only=True) as reader,
    ):
        assert await reader.in_thread(read) == 0
        await writer.in_thread(insert)
        assert count(databases) == 0
        committing = asyncio.ensure_future(writer.in_thread(commit))
        await asyncio.sleep(2)
        assert not committing.done()
        await reader.in_thread(end)
        await committing
        assert 2 <= loop.time() < 2.1
        assert count(databases) == 1

        await writer.in_thread(insert)
        reading = asyncio.ensure_future(reader.in_thread(read))
        await asyncio.sleep(1)
        assert (reading.done(), count(databases)) == (False, 1)
        await writer.in_thread(commit)
        assert await reading == 2
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await reader.in_thread(lambda connection: connection.execute("DELETE FROM t"))
        await reader.in_thread(end)
    databases.close()


ORDER = {"customer_id": "ann", "items": [{"product_id": "prod_1", "quantity": 2, "price": 5.0}]}


@pytest.mark.parametrize("is_durable", [False, True])
@virtual_time
async def test_a_process_may_die_at_each_commit(is_durable: bool) -> None:
    deaths: list[str] = []

    def die(process: Process, database: str, is_committed: bool) -> None:
        if is_committed is is_durable and deaths.count(database) < 2:
            deaths.append(database)
            process.kill(1.0)

    async with saga_test(MESH) as t:
        t.world = World(MESH, at_commit=die)
        async with t.world:
            answer = await t.post("/orders", ORDER)
            assert answer.saga.status == "COMPLETED"
            assert {name: deaths.count(name) for name in t.databases} == dict.fromkeys(t.databases, 2)
            assert len(t.databases["payment"].execute("SELECT 1 FROM payments")) == 1


@virtual_time
async def test_requests_run_side_by_side() -> None:
    async with saga_test(MESH) as t:
        t.delay("reserve_stock", "1s", times=3)
        await asyncio.gather(*(t.post("/orders", ORDER) for _ in range(3)))
        assert [run.status for run in t.sagas] == ["COMPLETED"] * 3
        assert t.now_s < 1.1


class Slow(InventoryService):
    async def reserve_stock(self, request: ReserveStockRequest, call: Call) -> ReserveStockResponse:
        response = await super().reserve_stock(request, call)
        await asyncio.sleep(0.3)
        return response


@virtual_time
async def test_a_read_beside_a_write_sees_what_was_committed_and_fails_nobody() -> None:
    async with saga_test(MESH, handlers={"inventory": Slow}) as t:
        placing = [asyncio.ensure_future(t.post("/orders", ORDER)) for _ in range(2)]
        seen: list[str] = []
        for _ in range(20):
            shown = await t.get("/products/prod_1/stock")
            assert shown.status == 200
            seen.append(shown.json["reserved"])
            assert t.databases["inventory"].rows("SELECT count(*) AS n FROM stock")[0]["n"] == 5
            await t.skip("50ms")
        await asyncio.gather(*placing)
        assert sorted(set(seen)) == sorted({"0", seen[-1]})
        assert seen[-1] == "4"
        assert [call.attempt for run in t.sagas for call in run.calls] == [1] * 8
