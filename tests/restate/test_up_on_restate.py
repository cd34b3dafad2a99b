"""`sagagen up` with SAGAGEN_ENGINE_URL: the sagas of the shop are on Restate."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import restate_server
from placing_orders import assert_all_ended_well, place
from restate_server import RestateServer
from restate_stack import RestateStack
from shop_invariants import await_terminal
from stack import keyed, order_body, place_order, post_order
from thorough import FAULT_ROUNDS

pytestmark = pytest.mark.skipif(bool(restate_server.missing()), reason=restate_server.missing())

ORDERS = 40


@pytest.fixture(scope="module")
def server() -> Generator[RestateServer]:
    with RestateServer() as started:
        yield started


@pytest.fixture
def stack(server: RestateServer, tmp_path: Path) -> Generator[RestateStack]:
    made = RestateStack(tmp_path / "data", server)
    try:
        yield made
    finally:
        made.close()


def test_one_process_takes_orders_answers_repeats_and_keeps_no_log(stack: RestateStack) -> None:
    stack.start("up")
    order = place_order(stack, "task-001")
    declined = place_order(stack, "fail-001", 600.0)
    assert await_terminal(stack, [order, declined]) == {order: "COMPLETED", declined: "COMPENSATED"}
    assert stack.http.get(f"/orders/{declined}").json()["status"] == "CANCELLED"
    again = post_order(stack, "task-001")
    assert (again.status_code, again.json()["order_id"]) == (201, order)
    assert post_order(stack, "task-001", 51.0).status_code == 422
    listed = stack.admin.get("/sagas", params={"status": "COMPLETED"}).json()["sagas"]
    assert order in {saga["id"] for saga in listed}
    assert 'sagagen_sagas_in_flight{saga="place_order"' in stack.admin.get("/metrics").text
    assert not (stack.data_dir / "saga-log.db").exists()
    status = sagagen(stack, "engine", "status")
    assert (status.returncode, "adapters at http://127.0.0.1:" in status.stdout) == (0, True), status
    assert sagagen(stack, "engine", "register").stdout.startswith("registered: ")


def test_a_mesh_has_an_adapter_of_its_own_that_is_started_again(stack: RestateStack) -> None:
    stack.start("mesh")
    place_order(stack, "in-a-mesh")
    parent = stack.processes["mesh"].pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (engine,) = [pid for pid in children if "engine" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")]
    os.kill(int(engine), signal.SIGKILL)
    answer = stack.http.post("/orders", json=order_body(), headers=keyed("after-the-kill"))
    assert answer.status_code in (201, 202), answer.text
    saga_id = answer.json().get("id") or answer.json()["order_id"]
    assert await_terminal(stack, [saga_id]) == {saga_id: "COMPLETED"}


def sagagen(stack: RestateStack, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sagagen", *words, "--project", str(stack.root)]
    environment = stack.environment("gateway")
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_whatever_is_killed_each_order_ends_once(stack: RestateStack) -> None:
    stack.start_each()
    for number in range(FAULT_ROUNDS):
        ids = asyncio.run(_under_kills(stack, f"round-{number}-{random.getrandbits(32)}"))
        assert_all_ended_well(stack, ids)
    stack.all_invocations_end()


async def _under_kills(stack: RestateStack, prefix: str) -> list[str]:
    placing = asyncio.create_task(place(stack, ORDERS, prefix))
    for name in ("engine", "restate", "gateway", "engine"):
        await asyncio.sleep(random.uniform(0.05, 0.4))
        await asyncio.to_thread(stack.kill_and_start, name)
    return await placing


def test_without_an_adapter_an_order_is_accepted_and_goes_on_with_one(stack: RestateStack) -> None:
    stack.start_each()
    stack.kill("engine")
    answer = stack.http.post("/orders", json=order_body(), headers=keyed("patient"))
    assert answer.status_code == 202, answer.text
    stack.start("engine")
    saga_id = answer.json()["id"]
    assert await_terminal(stack, [saga_id]) == {saga_id: "COMPLETED"}


def test_without_restate_nothing_is_accepted_and_readiness_says_so(stack: RestateStack) -> None:
    stack.start_each()
    stack.server.kill()
    try:
        answer = stack.http.post("/orders", json=order_body(), headers=keyed("later"))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), answer.text
        assert "engine: Restate can't be reached" in stack.admin.get("/readyz").text
    finally:
        stack.server.start()
    place_order(stack, "later")
