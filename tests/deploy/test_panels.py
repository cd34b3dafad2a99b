"""Every query of every panel and rule, asked of a real Prometheus that scrapes a real mesh after a mixed load."""

import json
import operator
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_server import Prometheus, interval_s, prometheus_of
from redis_server import RedisServer
from shop_invariants import await_terminal
from stack import Stack, free_ports, post_order
from waiting import eventually
from yaml_files import read_yaml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed here"),
]
DEPLOY = Path(__file__).parents[2] / "generated" / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yaml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
WINDOW = "1m"
EMPTY: dict[str, str] = {
    'step="charge_payment",direction="compensation"': "a charge is refunded only where "
    "confirming fails for good or an operator cancels an order just then",
}
"""Parts of queries that have no data after this load, and why."""


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("scraped")
    stack = Stack(folder / "var")
    with RedisServer(folder) as redis, closing(stack), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGAGEN_REDIS_URL", redis.url)
        # Only a trace that is exported is an exemplar; here nobody listens for it.
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_ports(1)[0]}")
        stack.start_each()
        with prometheus_of(stack, folder, RULES, interval_s()) as prometheus:
            prometheus.await_targets(1 + len(stack.services))
            _mixed_load(stack)
            prometheus.await_scrapes()
            yield prometheus


def _mixed_load(stack: Stack) -> None:
    """Orders that pass and that are declined, over a while, with a service that freezes in between."""
    saga_ids: list[str] = []
    for number in range(12):
        price = 600.0 if number % 3 == 0 else 50.0
        saga_ids.append(post_order(stack, f"load-{number}", price).json()["order_id"])
        stack.http.get(f"/orders/{saga_ids[-1]}")
        if number in (3, 6, 9):
            _freeze_for_a_while(stack, stack.services[number // 3 - 1])
        time.sleep(0.3)
    await_terminal(stack, saga_ids)


def _freeze_for_a_while(stack: Stack, service: str) -> None:
    """Longer than a step's time-out, so that its calls are repeated; what was done is then answered as recorded."""
    process = stack.processes[service]
    with ThreadPoolExecutor(1) as pool:
        process.send_signal(signal.SIGSTOP)
        posted = pool.submit(post_order, stack, f"frozen-{service}")
        time.sleep(2.5)
        process.send_signal(signal.SIGCONT)
        assert posted.result().status_code == 201


def queries() -> list[str]:
    """Of all panels, each once, for an instant."""
    found: dict[str, None] = {}
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            found |= {target["expr"]: None for target in panel.get("targets", ())}
    return list(found)


def rules() -> list[str]:
    groups = read_yaml(RULES.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def test_every_panels_query_has_data_or_a_reason_not_to(scraped: Prometheus) -> None:
    empty = [query for query in queries() if not scraped.ask(query.replace("$__rate_interval", WINDOW))]
    unexplained = [query for query in empty if not any(part in query for part in EMPTY)]
    assert unexplained == []


def test_every_rules_expression_is_understood_and_what_is_recorded_has_data(scraped: Prometheus) -> None:
    for expression in rules():
        scraped.ask(expression)
    for name in ("saga:sagagen_sagas_started:rate5m", "saga_status:sagagen_sagas_ended:rate5m"):
        eventually(f"{name} to be recorded", lambda name=name: scraped.ask(name))


def test_buckets_have_exemplars_of_traces(scraped: Prometheus) -> None:
    for name in ("sagagen_saga_duration_seconds_bucket", "sagagen_step_attempt_duration_seconds_bucket"):
        assert scraped.exemplars(name), name


def test_nothing_fires_that_should_not(scraped: Prometheus) -> None:
    eventually("nothing to fire", scraped.firing, operator.not_)
