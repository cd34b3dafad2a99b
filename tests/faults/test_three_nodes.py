"""A Restate cluster of three under 15 orders a second: one node is killed, and then two of them.

SAGAGEN_PROOFS=all python -m pytest -s tests/faults/test_three_nodes.py
"""

import asyncio
import random
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import postgres_server
import pytest
import restate_server
from campaign_checks import violations
from campaign_orders import Answer, Clients, Order, Send
from chaos_checks import saga_lines
from chaos_fleet import Arena
from restate_cluster import RestateCluster
from thorough import TRIES_ALL
from waiting import LIMIT_S, under_load

PER_S = 15.0
ONE_GONE_S, RETURNED_S = 10.0, 15.0
"""How long any order may take while one node is gone, and until sagas go on after two have returned: in seconds, on a
quiet machine."""
BEFORE_S, AWAY_S, AFTER_S = 4.0, 6.0, 6.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TRIES_ALL, reason="SAGAGEN_PROOFS=all runs it"),
    pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-"),
    pytest.mark.skipif(bool(restate_server.missing()), reason=restate_server.missing() or "-"),
]


class Load:
    """Orders, so many a second, each sent by somebody who asks until there is an answer."""

    def __init__(self, arena: Arena, prefix: str) -> None:
        self.orders: list[Order] = []
        self._prefix = prefix
        self._clients = Clients(arena.fleets["shop"].gateway_ports, self.orders, random.Random(prefix))
        self._is_over = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while not self._is_over.is_set():
                number = len(self.orders)
                items = {"A": [(f"prod_{number % 5 + 1}", 1, 10.0)]}
                self.orders.append(Order(f"{self._prefix}-{number}", "good", items, [Send(0.0, "A", None)]))
                group.create_task(self._clients.repeat(self.orders[-1], 2 * LIMIT_S))
                await asyncio.sleep(1 / PER_S)

    def stop(self) -> None:
        self._is_over.set()

    def slowest_s(self) -> float:
        """From an order's first request to its answer."""
        return max(_settled(order).ended - order.answers[0].began for order in self.orders)

    def first_after(self, moment_s: float) -> float:
        """Seconds from this moment until the next order was answered that had been sent before or after."""
        return min(ended for order in self.orders if (ended := _settled(order).ended) > moment_s) - moment_s


def _settled(order: Order) -> Answer:
    return next(answer for answer in order.answers if answer.is_settled)


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Generator[Arena]:
    folder: Path = tmp_path_factory.mktemp("nodes")
    with Arena("three Restate nodes", folder, delivers=False) as arena:
        yield arena


async def _with_nodes_away(arena: Arena, numbers: Sequence[int], prefix: str) -> tuple[Load, float]:
    """The load, and when the nodes had been started again, by the monotonic clock."""
    cluster = _cluster(arena)
    load = Load(arena, prefix)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(BEFORE_S)
    for number in numbers:
        cluster.nodes[number].kill()
    await asyncio.sleep(AWAY_S)
    for number in numbers:
        cluster.nodes[number].begin()
    returned_s = time.monotonic()
    await asyncio.sleep(AFTER_S)
    load.stop()
    await running
    return load, returned_s


def _cluster(arena: Arena) -> RestateCluster:
    assert arena.keeper.cluster
    return arena.keeper.cluster


async def test_one_of_three_is_killed_and_no_order_takes_long(arena: Arena) -> None:
    orders: list[Order] = []
    limit_s = under_load(ONE_GONE_S)
    for number, node in enumerate(_cluster(arena).nodes):
        load, _ = await _with_nodes_away(arena, [number], f"without-{node.name}")
        orders += load.orders
        print(f"without node {node.name}: {len(load.orders)} orders, slowest {load.slowest_s():.1f} s")
        assert load.slowest_s() < limit_s, node.name
        await asyncio.to_thread(arena.await_ready)
    await _assert_nothing_is_wrong(arena, orders)


async def test_two_of_three_are_killed_and_it_goes_on_after_their_return(arena: Arena) -> None:
    limit_s = under_load(RETURNED_S)
    load, returned_s = await _with_nodes_away(arena, [0, 1], "without-two")
    waited_s = load.first_after(returned_s)
    print(f"without two nodes: {len(load.orders)} orders, the first {waited_s:.1f} s after their return")
    assert waited_s < limit_s
    await asyncio.to_thread(arena.await_ready)
    await _assert_nothing_is_wrong(arena, load.orders)


async def _assert_nothing_is_wrong(arena: Arena, orders: Sequence[Order]) -> None:
    limit_s = time.monotonic() + LIMIT_S
    while await asyncio.to_thread(arena.keeper.unfinished):
        assert time.monotonic() < limit_s, "invocations are unfinished"
        await asyncio.sleep(0.2)
    shop = arena.fleets["shop"]
    found = violations(shop, saga_lines(shop.saga_rows()), orders)
    assert not found, found[:10]
