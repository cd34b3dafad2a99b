"""Each emitted alert is driven to firing by a fault: real processes, a real Prometheus, the emitted rules.

Only time is shortened: the windows and waits of the rules, and the deadlines of a copy of the shop.
"""

import operator
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import httpx
import pytest
from project_copy import copy_project, edit, generate
from prometheus_server import Prometheus, interval_s, prometheus_of
from redis_server import RedisServer
from small_disk import fill
from stack import Stack, post_order, sagas_at
from waiting import eventually
from yaml_files import read_yaml, write_yaml

from sagagen.runtime.model.buckets import SAGA_BUCKETS_S

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed here"),
]
DECLINED = 600.0


@pytest.fixture(scope="module")
def pace_s() -> int:
    """What takes a second on a quiet machine: all times here are multiples of it."""
    return interval_s()


@pytest.fixture(scope="module")
def quick_shop(tmp_path_factory: pytest.TempPathFactory, pace_s: int) -> Path:
    """The shop with deadlines that a test can wait for, generated anew."""
    root = copy_project("shop", tmp_path_factory.mktemp("quick") / "shop")
    quicker = {
        "deadline: 60s": f"deadline: {3 * pace_s}s",
        "give_up_after: 24h": f"give_up_after: {8 * pace_s}s",
        "wait: 10s": f"wait: {pace_s}s",
    }
    edit(root / "contracts" / "saga.yaml", quicker)
    return generate(root)


def shortened(rules: Path, to: Path, pace_s: int) -> Path:
    """The same rules, with waits of one evaluation and windows of a few scrapes."""
    document = read_yaml(rules.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[\d+[mh]\]", f"[{15 * pace_s}s]", rule["expr"])
            # A saga is reported when it is five minutes late; here that is five seconds.
            late = rf"(age_seconds\S*\)) > {300 + 3 * pace_s}$"
            rule["expr"] = re.sub(late, rf"\1 > {8 * pace_s}", rule["expr"])
            if "for" in rule:
                rule["for"] = f"{pace_s}s"
    return write_yaml(to, document)


def alerts(rules: Path) -> set[str]:
    groups = read_yaml(rules.read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


class Faults:
    """What goes wrong, one thing after the other, and which alerts have fired so far."""

    def __init__(self, stack: Stack, prometheus: Prometheus, pace_s: int) -> None:
        self._pace_s = pace_s
        self.stack = stack
        self.fired: set[str] = set()
        self._prometheus = prometheus
        self._keys = iter(range(1000))

    def order(self, price: float = 50.0) -> httpx.Response:
        return post_order(self.stack, f"order-{next(self._keys)}", price)

    def until_firing(self, *names: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        def all_fired() -> set[str]:
            meanwhile()
            self.fired |= self._prometheus.firing()
            return self.fired

        eventually(f"{names} to fire", all_fired, set(names).issubset, every_s=0.3)

    def redis_goes(self, redis: RedisServer) -> None:
        redis.kill()
        self.until_firing("RedisAway")

    def stock_cannot_be_given_back(self) -> None:
        """The inventory is gone when a declined order is to be undone: repeated, late, and given up at last."""
        with self.stack.holding_writes("payment"), ThreadPoolExecutor(2) as pool:
            orders = [pool.submit(self.order, DECLINED) for _ in range(2)]
            self._await_step("charge_payment", 2)
            self.stack.kill("inventory")
        assert {order.result().status_code for order in orders} == {201}
        self.until_firing(
            "SagaCompensationFails", "MeshProcessDown", "SagaUnfinished_place_order", "SagaStuck"
        )
        self.stack.start("inventory")

    def orders_are_late(self) -> None:
        """Each is over its deadline before its payment goes through again."""
        polls = count()
        objective_s = next(bucket for bucket in SAGA_BUCKETS_S if bucket >= 3 * self._pace_s)

        def late_ones() -> None:
            if next(polls) % 20:  # a burn is only seen by a scrape in time: some more now and then
                return
            with self.stack.holding_writes("payment"), ThreadPoolExecutor(3) as pool:
                for order in [pool.submit(self.order) for _ in range(3)]:
                    order.result()
                time.sleep(objective_s + self._pace_s)

        names = "SagaErrorBudgetBurn_place_order_fast", "SagaErrorBudgetBurn_place_order_slow"
        self.until_firing(*names, meanwhile=late_ones)

    def the_log_is_held_up(self) -> None:
        """Something else holds the log's lock for a while, again and again."""

        def held_for_a_while() -> None:
            with ThreadPoolExecutor(1) as pool:
                with self.stack.holding_writes("saga-log"):
                    order = pool.submit(self.order)
                    time.sleep(0.6)
                order.result()

        self.until_firing("SagaLogCommitsSlow", meanwhile=held_for_a_while)

    def a_deployment_lacks_a_version(self) -> None:
        with self.stack.holding_writes("payment"):
            self.order()
            self._await_step("charge_payment", 1)
            self.stack.kill("gateway")
        with closing(sqlite3.connect(self.stack.data_dir / "saga-log.db", isolation_level=None)) as log:
            log.execute("UPDATE saga SET digest = ? WHERE status = 'RUNNING'", ("0" * 64,))
        self.stack.start("gateway")
        self.until_firing("SagaVersionMissing")

    def the_disk_is_full(self) -> None:
        fill(self.stack.data_dir / "filler")

        def try_one() -> None:
            with suppress(httpx.TransportError):
                self.order()

        self.until_firing("SagaLogDiskFull", meanwhile=try_one)

    def _await_step(self, step: str, count: int) -> None:
        eventually(
            f"{count} sagas at {step}", lambda: sagas_at(self.stack, step), lambda sagas: len(sagas) >= count
        )


def test_each_alert_is_fired_by_the_fault_that_it_is_for(
    quick_shop: Path, pace_s: int, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted = quick_shop / "generated" / "deploy" / "prometheus" / "rules.yaml"
    rules = shortened(emitted, tmp_path / "rules.yaml", pace_s)
    stack = Stack(small_disk, root=quick_shop)
    with RedisServer(tmp_path) as redis, closing(stack):
        monkeypatch.setenv("SAGAGEN_REDIS_URL", redis.url)
        stack.start_each()
        with prometheus_of(stack, tmp_path, rules, pace_s) as prometheus:
            prometheus.await_targets(1 + len(stack.services))
            faults = Faults(stack, prometheus, pace_s)
            assert faults.order().status_code == 201
            prometheus.await_scrapes()
            eventually("nothing to fire", prometheus.firing, operator.not_)
            faults.redis_goes(redis)
            faults.stock_cannot_be_given_back()
            faults.orders_are_late()
            faults.the_log_is_held_up()
            faults.a_deployment_lacks_a_version()
            faults.the_disk_is_full()
    # Those of engines take half a minute of a gateway that drives nothing: tests/engine/test_shared_takeover.py has it.
    assert faults.fired == alerts(emitted) - {"EngineNotDriving", "EngineWedged"}
