"""A disk that is full in the middle of a load, and free again; a service's database that comes from a backup."""

import asyncio
import shutil
from contextlib import closing
from itertools import count
from pathlib import Path

import httpx
import pytest
from placing_orders import assert_all_ended_well, place
from redis_server import RedisServer
from shop_invariants import CONFIRMED, assert_shop_is_consistent
from small_disk import fill
from stack import Stack, place_order, post_order
from tcp_proxy import Replies, proxy_to
from waiting import LIMIT_S, eventually_async

pytestmark = pytest.mark.slow
COUNT = 40


async def test_a_full_disk_costs_time_and_no_order_that_was_accepted(
    small_disk: Path, patient_root: Path
) -> None:
    with closing(Stack(small_disk, root=patient_root)) as stack:
        stack.start_each()
        placing = asyncio.create_task(place(stack, COUNT, "full"))
        await eventually_async("the first order", lambda: stack.rows("order", "SELECT 1 FROM orders LIMIT 1"))
        filler = small_disk / "filler"
        fill(filler)
        for number in range(3):
            refused = await _until_refused(stack, f"new-{number}")
            assert int(refused.headers["retry-after"]) >= 1
        filler.unlink()
        await placing
        async with asyncio.timeout(LIMIT_S):
            saga_ids: list[str] = []
            while len(saga_ids) < COUNT:  # who got a 503 sends the same key again, as it says
                saga_ids = await place(stack, COUNT, "full")
        assert_all_ended_well(stack, saga_ids)
        confirmed = stack.rows("order", f"SELECT 1 FROM orders WHERE status = {CONFIRMED}")
        assert len(confirmed) >= COUNT - COUNT // 5


async def test_a_database_from_a_backup_is_not_told_that_what_it_lost_is_done(
    patient_shop: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Payment charges, its answer is lost, and its database is put back to before: the repeat charges, once."""
    stack = patient_shop
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
        order = asyncio.create_task(asyncio.to_thread(place_order, stack, "backup"))
        await eventually_async("a charge", lambda: stack.rows("payment", "SELECT 1 FROM payments"))
        stack.kill("payment")
        for file in stack.data_dir.glob("payment.db*"):
            file.unlink()
        for file in backup.iterdir():
            shutil.copy(file, stack.data_dir)
        assert not stack.rows("payment", "SELECT 1 FROM payments")
        proxy.replies = Replies.PASS
        stack.start("payment")
        assert_all_ended_well(stack, [await order])
        assert len(stack.rows("payment", "SELECT 1 FROM payments")) == 1
        assert_shop_is_consistent(stack)


async def _until_refused(stack: Stack, prefix: str) -> httpx.Response:
    """The answer to the first new order that finds the log full."""
    keys = (f"{prefix}-{number}" for number in count())
    return await eventually_async(
        "an order to be refused",
        lambda: asyncio.to_thread(post_order, stack, next(keys)),
        lambda answer: answer.status_code == 503,
    )
