"""The generated stack in a real container engine, as `docker compose up --build -d --wait` brings it up.

Whatever the images of Grafana, Tempo and Loki are on a machine, only the mesh, Redis and Prometheus are asked anything.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from curl_lines import await_status, readme_curls, type_in
from stack import REPOSITORY, keyed, order_body, patient_client
from waiting import eventually

pytestmark = pytest.mark.slow

URL = "http://localhost:8080"
PROMETHEUS = "http://localhost:9090"
PROJECT = "sagagen-compose-test"


def engine_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def compose(*words: str, check: bool = True) -> str:
    done = subprocess.run(
        ["docker", "compose", "-p", PROJECT, *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def stack() -> Iterator[None]:
    if not engine_answers():
        pytest.skip("no container engine answers here")
    try:
        compose("up", "--build", "-d", "--wait")
        yield
    finally:
        compose("down", "-v", "--timeout", "5", check=False)


def prometheus(path: str, **query: str) -> Any:
    answer = patient_client(PROMETHEUS).get(f"/api/v1/{path}", params=query).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def test_both_lines_of_the_readme_work_under_compose(stack: None) -> None:
    good, bad = readme_curls()
    status, order = type_in(good, URL)
    assert (status, order["status"]) == (201, "PENDING")
    await_status(URL, order["order_id"], "CONFIRMED")

    shop = patient_client(URL)
    before = shop.get("/products/prod_1/stock").json()
    status, refused = type_in(bad, URL)
    assert (status, refused["status"]) == (201, "PENDING")
    cancelled = await_status(URL, refused["order_id"], "CANCELLED")
    assert cancelled["cancel_reason"] == "PAYMENT_LIMIT_EXCEEDED"
    assert shop.get("/products/prod_1/stock").json() == before


def test_what_was_accepted_outlives_the_kill_of_every_container_and_their_removal(stack: None) -> None:
    order_id = place_order("kept")
    compose("kill", "-s", "SIGKILL")
    compose("down", "--timeout", "5")
    compose("up", "-d", "--wait")
    await_status(URL, order_id, "CONFIRMED")
    repeated = patient_client(URL).post("/orders", json=order_body(), headers=keyed("kept"))
    assert repeated.headers["idempotency-replayed"] == "true"


def test_prometheus_scrapes_every_process_and_has_sagas_with_exemplars(stack: None) -> None:
    type_in(readme_curls()[0].replace("task-001", "task-003"), URL)

    def is_up() -> bool:
        targets = prometheus("targets")["activeTargets"]
        return len(targets) == 4 and all(target["health"] == "up" for target in targets)

    eventually("4 targets to be up", is_up)
    ended = 'sagagen_sagas_ended_total{saga="place_order"}'
    eventually("sagas that ended", lambda: prometheus("query", query=ended)["result"])
    now = time.time()
    asked = {"query": "sagagen_saga_duration_seconds_bucket", "start": str(now - 600), "end": str(now + 60)}
    eventually("exemplars", lambda: prometheus("query_exemplars", **asked))
    rules = [rule for group in prometheus("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}


def test_a_service_container_killed_in_the_middle_of_a_load_costs_no_order(stack: None) -> None:
    with ThreadPoolExecutor(8) as pool:
        posted = [pool.submit(place_order, f"load-{number}") for number in range(60)]
        posted[9].result()  # so some are through, and some are under way
        compose("kill", "-s", "SIGKILL", "payment")
        compose("start", "payment")
        order_ids = [order.result() for order in posted]
    for order_id in order_ids:
        await_status(URL, order_id, "CONFIRMED")


def test_admin_listeners_are_not_published_and_nothing_runs_as_root_or_may_write_its_image(
    stack: None,
) -> None:
    published = json.loads(compose("config", "--format", "json"))["services"]
    assert {port["target"] for service in published.values() for port in service.get("ports", ())} == {
        *(8080, 9090, 3000)
    }
    for service in ("gateway", "order", "inventory", "payment"):
        assert compose("exec", "-T", service, "id", "-u").strip() == "65532"
        refused = compose("exec", "-T", service, "sh", "-c", "touch /app/x || echo refused")
        assert "refused" in refused


REACH = """
import socket, sys
for place in sys.argv[1:]:
    host, port = place.split(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError:
        continue
    print(place)
"""
STRANGER = """
import asyncio
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.transports.grpc.client import GrpcTransport
async def refund():
    async with GrpcTransport("payment.mesh", 50053) as payment:
        try:
            await payment.call("/shop.payment.v1.PaymentService/RefundPayment", b"", metadata={}, timeout_s=30)
        except RpcError as error:
            print(error.code.name, error.reason)
asyncio.run(refund())
"""


def test_each_network_leads_to_what_belongs_there_alone(stack: None) -> None:
    def reached(network: str) -> set[str]:
        places = ["redis:6379"]
        for name, port in (("order", 50051), ("inventory", 50052), ("payment", 50053), ("gateway", 8081)):
            places += [f"{name}:{port}", f"{name}.telemetry:8081"]
        return set(in_network(network, REACH, *places).split())

    admin = {f"{name}.telemetry:8081" for name in ("gateway", "order", "inventory", "payment")}
    # What collects telemetry reaches admin listeners, no service and no Redis; Redis's network has nobody else.
    assert reached("telemetry") == {*admin, "gateway:8081"}
    assert reached("redis") == {"redis:6379"}
    assert reached("default") == {"order:50051", "inventory:50052", "payment:50053"}
    assert in_network("default", STRANGER).split() == ["UNAUTHENTICATED", "UNSIGNED"]


def test_keys_are_made_once_and_each_container_has_its_own_alone(stack: None) -> None:
    made = "/run/sagagen/mesh/mesh-key"
    key = compose("exec", "-T", "payment", "cat", made)
    assert len(key.strip()) == 64
    assert compose("exec", "-T", "gateway", "cat", made) == key
    assert compose("exec", "-T", "payment", "stat", "-c", "%a %u", made).split() == ["600", "65532"]
    refused = "touch /run/sagagen/mesh/x || echo refused"
    assert "refused" in compose("exec", "-T", "payment", "sh", "-c", refused)
    compose("run", "--rm", "keys")
    assert compose("exec", "-T", "payment", "cat", made) == key
    assert "mesh" not in compose("exec", "-T", "redis", "ls", "/run/sagagen")
    assert not compose("exec", "-T", "gateway", "ls", "/run/sagagen/redis")
    asked = "redis-cli ping; REDISCLI_AUTH=$(cat /run/sagagen/password) redis-cli ping"
    assert compose("exec", "-T", "redis", "sh", "-c", asked).split()[-1] == "PONG"
    assert "NOAUTH" in compose("exec", "-T", "redis", "sh", "-c", "redis-cli ping 2>&1 || true")
    # Services have read it, from its file.
    assert "redis answers repeats" in compose("logs", "payment")


def in_network(network: str, code: str, *arguments: str) -> str:
    """What a program prints that runs in a container of its own on this network, without any key."""
    image = ("docker", "run", "--rm", "--network", f"{PROJECT}_{network}", f"{PROJECT}-order")
    done = subprocess.run(
        [*image, "python", "-c", code, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def place_order(key: str) -> str:
    """Posts until it is accepted: while the gateway says 503, the same key is sent again, as it asks."""
    answer = eventually(
        "an order to be accepted",
        lambda: patient_client(URL).post("/orders", json=order_body(), headers=keyed(key)),
        lambda answer: answer.status_code in (200, 201, 202),
        every_s=0.5,
    )
    body = answer.json()
    return body["id" if answer.status_code == 202 else "order_id"]
