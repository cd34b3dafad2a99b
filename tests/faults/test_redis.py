"""Redis killed, flushed, frozen and filled while services that lean on it get their calls twice: never an effect."""

import asyncio
import operator
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from placing_orders import assert_all_ended_well, place
from redis_server import RedisServer
from shop_invariants import CONFIRMED
from stack import Stack
from tcp_proxy import Proxy, Replies, proxy_to
from waiting import eventually_async

pytestmark = pytest.mark.slow
COUNT = 15
FORGETFUL = """
import sys
from sagagen.runtime.service import outcome_cache as fast_path
fast_path.CACHE_BYTES = 0
from sagagen.runtime.redis import pipeline
pipeline.LIMIT_S = 0.5
from sagagen.cli import main
sys.argv = ["sagagen", *sys.argv[1:]]
main()
"""


class ForgetfulStack(Stack):
    """Its services remember nothing themselves, so that every outcome goes to Redis, and every repeat asks it.

    They wait longer for it than they should, so that a busy machine does not look like a Redis that is of no help.
    """

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
    patient_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, befall: Callable[[RedisServer], None]
) -> None:
    with (
        RedisServer(tmp_path) as redis,
        closing(ForgetfulStack(tmp_path / "var", root=patient_root)) as stack,
        proxy_to(stack.listens("payment")) as proxy,
    ):
        monkeypatch.setenv("SAGAGEN_REDIS_URL", redis.url)
        stack.reached["payment"] = proxy.port
        stack.start_each()
        await eventually_async("the line to Redis", lambda: _payments(stack, BREAKER_OPEN), operator.not_)
        proxy.replies = Replies.DROP
        placing = asyncio.create_task(place(stack, COUNT, befall.__name__))
        await _until_dropped(proxy, 3)
        await eventually_async("an answer by Redis", lambda: _payments(stack, HITS))
        befall(redis)
        await _until_dropped(proxy, proxy.tampered + 5)
        proxy.replies = Replies.PASS
        saga_ids = await placing
        assert len(saga_ids) == COUNT
        assert_all_ended_well(stack, saga_ids)
        if befall is frozen:
            redis.thaw()  # and does what it was told before
        again = await place(stack, COUNT, befall.__name__)
        assert sorted(again) == sorted(saga_ids)
        assert_all_ended_well(stack, again)
    confirmed = stack.rows("order", f"SELECT 1 FROM orders WHERE status = {CONFIRMED}")
    assert len(confirmed) == COUNT - COUNT // 5


BREAKER_OPEN = "sagagen_redis_breaker_open"
HITS = 'sagagen_idempotency_hits_total{layer="redis",service="payment"}'


def _payments(stack: Stack, metric: str) -> float:
    """What the payment service counts; 0 before there is anything to count."""
    metrics = stack.service_admin("payment").get("/metrics").text
    return sum(
        float(line.removeprefix(metric)) for line in metrics.splitlines() if line.startswith(metric + " ")
    )


async def _until_dropped(proxy: Proxy, count: int) -> None:
    await eventually_async(
        f"{count} answers to be dropped", lambda: proxy.tampered, lambda seen: seen >= count
    )
