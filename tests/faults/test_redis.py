"""Redis killed, flushed, frozen and filled while services that lean on it get their calls twice: never an effect."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from placing_orders import assert_all_ended_well, place
from redis_server import RedisServer
from shop_invariants import CONFIRMED
from stack import Stack
from tcp_proxy import Replies, proxy_to

pytestmark = pytest.mark.slow
COUNT = 15
FORGETFUL = """
import sys
from sagagen.runtime.service import outcome_cache as fast_path
fast_path.CACHE_BYTES = 0
from sagagen.cli import main
sys.argv = ["sagagen", *sys.argv[1:]]
main()
"""


class ForgetfulStack(Stack):
    """Its services remember nothing themselves, so that every outcome goes to Redis, and every repeat asks it."""

    def command(self, name: str) -> list[str]:
        _, _, _, *arguments = super().command(name)
        return [sys.executable, "-c", FORGETFUL, *arguments]


def killed(redis: RedisServer) -> None:
    redis.kill()


def flushed(redis: RedisServer) -> None:
    redis.ask("FLUSHALL")


def frozen(redis: RedisServer) -> None:
    redis.freeze()


def filled(redis: RedisServer) -> None:
    redis.ask("CONFIG SET maxmemory-policy noeviction")
    redis.ask("CONFIG SET maxmemory 1")


@pytest.mark.parametrize("befall", [killed, flushed, frozen, filled], ids=lambda befall: befall.__name__)
async def test_whatever_befalls_redis_every_effect_happens_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, befall: Callable[[RedisServer], None]
) -> None:
    stack = ForgetfulStack(tmp_path / "var")
    with RedisServer(tmp_path) as redis, proxy_to(stack.listens("payment")) as proxy:
        monkeypatch.setenv("SAGAGEN_REDIS_URL", redis.url)
        stack.reached["payment"] = proxy.port
        try:
            stack.start_each()
            await asyncio.sleep(0.3)  # the line to Redis is made beside the start
            proxy.replies = Replies.DROP
            placing = asyncio.create_task(place(stack, COUNT, befall.__name__))
            await _until(lambda: proxy.tampered >= 5 and _answered_by_redis(stack) > 0)
            befall(redis)
            await _until(lambda: proxy.tampered >= 15)
            proxy.replies = Replies.PASS
            saga_ids = await placing
            assert len(saga_ids) == COUNT
            assert_all_ended_well(stack, saga_ids)
            if befall is frozen:
                redis.thaw()  # and does what it was told before
            again = await place(stack, COUNT, befall.__name__)
            assert sorted(again) == sorted(saga_ids)
            assert_all_ended_well(stack, again)
        finally:
            stack.close()
    confirmed = stack.rows("order", f"SELECT 1 FROM orders WHERE status = {CONFIRMED}")
    assert len(confirmed) == COUNT - COUNT // 5


def _answered_by_redis(stack: Stack) -> float:
    metrics = httpx.get(f"{stack.service_admin_url('payment')}/metrics").text
    prefix = 'sagagen_idempotency_hits_total{layer="redis",service="payment"} '
    return sum(float(line.removeprefix(prefix)) for line in metrics.splitlines() if line.startswith(prefix))


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - it is counted in another thread
            await asyncio.sleep(0.01)
