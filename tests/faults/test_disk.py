"""A disk that is full in the middle of a load, and free again; a service's database that comes from a backup."""

import asyncio
import shutil
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from placing_orders import assert_all_ended_well, place
from redis_server import RedisServer
from shop_invariants import CONFIRMED, assert_shop_is_consistent
from small_disk import fill
from stack import Stack, keyed, order_body
from tcp_proxy import Replies, proxy_to

pytestmark = pytest.mark.slow
COUNT = 40


async def test_a_full_disk_costs_time_and_no_order_that_was_accepted(small_disk: Path) -> None:
    with closing(Stack(small_disk)) as stack:
        stack.start_each()
        placing = asyncio.create_task(place(stack, COUNT, "full"))
        await asyncio.sleep(0.2)
        filler = small_disk / "filler"
        fill(filler)
        refused = await _until_refused(stack)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        await asyncio.sleep(2)
        filler.unlink()
        await placing
        async with asyncio.timeout(60):
            saga_ids: list[str] = []
            while len(saga_ids) < COUNT:  # who got a 503 sends the same key again, as it says
                saga_ids = await place(stack, COUNT, "full")
        assert_all_ended_well(stack, saga_ids)
        confirmed = stack.rows("order", f"SELECT 1 FROM orders WHERE status = {CONFIRMED}")
        assert len(confirmed) >= COUNT - COUNT // 5


async def test_a_database_from_a_backup_is_not_told_that_what_it_lost_is_done(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Payment charges, its answer is lost, and its database is put back to before: the repeat charges, once."""
    with RedisServer(tmp_path) as redis, proxy_to(stack.listens("payment")) as proxy:
        monkeypatch.setenv("SAGAGEN_REDIS_URL", redis.url)
        stack.reached["payment"] = proxy.port
        stack.start_each()
        stack.kill("payment")
        backup = tmp_path / "backup"
        backup.mkdir()
        for file in stack.data_dir.glob("payment.db*"):
            shutil.copy(file, backup)
        stack.start("payment")
        proxy.replies = Replies.DROP
        async with httpx.AsyncClient(base_url=stack.url, timeout=30) as client:
            body, headers = order_body(), dict(keyed("backup"))
            order = asyncio.create_task(client.post("/orders", json=body, headers=headers))
            async with asyncio.timeout(20):
                while not stack.rows("payment", "SELECT 1 FROM payments"):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.01)
            stack.kill("payment")
            for file in stack.data_dir.glob("payment.db*"):
                file.unlink()
            for file in backup.iterdir():
                shutil.copy(file, stack.data_dir)
            assert not stack.rows("payment", "SELECT 1 FROM payments")
            proxy.replies = Replies.PASS
            stack.start("payment")
            answer = await order
        assert answer.status_code == 201
        assert_all_ended_well(stack, [answer.json()["order_id"]])
        assert len(stack.rows("payment", "SELECT 1 FROM payments")) == 1
        assert_shop_is_consistent(stack)


async def _until_refused(stack: Stack) -> httpx.Response:
    """The answer to the first new order that finds the log full."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=30) as client, asyncio.timeout(30):
        number = 0
        while True:
            number += 1
            answer = await client.post("/orders", json=order_body(), headers=dict(keyed(f"new-{number}")))
            if answer.status_code == 503:
                return answer
