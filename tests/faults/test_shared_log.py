"""Two gateways on a saga log in PostgreSQL: either is killed, or stopped beyond its lease, under load."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import postgres_server
import pytest
from placing_orders import place
from shared_gateway import SharedGateway
from shop_invariants import assert_shop_is_consistent, await_all_orders_final, await_terminal
from stack import REPOSITORY, Stack, post_order
from thorough import FAULT_ROUNDS
from waiting import eventually

pytestmark = pytest.mark.slow
ORDERS = 40
"""Of a round, at each gateway."""


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[tuple[Stack, SharedGateway, SharedGateway]]:
    if why := postgres_server.missing():
        pytest.skip(why)
    name = f"sagas_{sha256(str(tmp_path).encode()).hexdigest()[:16]}"
    url = postgres_server.shared_server().database(name)
    services = Stack(tmp_path / "services")
    gateways = (
        SharedGateway(tmp_path / "one", services, url),
        SharedGateway(tmp_path / "other", services, url),
    )
    try:
        services.start(*services.services)
        for gateway in gateways:
            gateway.start("gateway")
        yield services, *gateways
    finally:
        for stack in (*gateways, services):
            stack.close()


def test_orders_at_two_gateways_survive_either(mesh: tuple[Stack, SharedGateway, SharedGateway]) -> None:
    services, one, other = mesh
    placed = dict[str, None]()
    for round_ in range(FAULT_ROUNDS):
        for dying, living, how in (
            (one, other, signal.SIGKILL),
            (other, one, signal.SIGSTOP),
            (one, other, signal.SIGTERM),
        ):
            prefix = f"{round_}-{how.name}"
            ids = asyncio.run(_placed_at_both(one, other, dying, how, prefix))
            # Through the one that lives: it has taken over what the other one drove.
            await_terminal(living, ids)
            placed.update(dict.fromkeys(ids))
            _bring_back(dying, how)
            assert await_terminal(dying, ids) == await_terminal(living, ids)
    await_all_orders_final(services)
    assert_shop_is_consistent(services)
    orders = {row["order_id"] for row in services.rows("order", "SELECT order_id FROM orders")}
    assert set(placed) <= orders
    tables = dumped(one)
    assert all(order in tables for order in placed), "these are the tables of the log"
    assert [secret for secret in ("cust_123", b"cust_123".hex()) if secret in tables] == []
    counts = [stack.admin.get("/stats").json() for stack in (one, other)]
    assert counts[0] == counts[1]


async def _placed_at_both(
    one: SharedGateway, other: SharedGateway, dying: SharedGateway, how: signal.Signals, prefix: str
) -> list[str]:
    """The same keys at both at once; in the midst of it one of them dies."""

    async def die() -> None:
        await asyncio.sleep(0.3)
        dying.processes["gateway"].send_signal(how)
        if how is signal.SIGSTOP:  # whoever waits for it would wait for long
            await asyncio.sleep(8.0)
            dying.processes["gateway"].send_signal(signal.SIGCONT)

    *answered, _ = await asyncio.gather(place(one, ORDERS, prefix), place(other, ORDERS, prefix), die())
    return sorted({saga_id for ids in answered for saga_id in ids})


def dumped(gateway: SharedGateway) -> str:
    """All that the log's tables hold; bytes as hex digits."""
    tables = ("saga", "batch", "mail", "audit", "pending_order", "subject_key")
    database = gateway.engine.rpartition("/")[2]
    server = postgres_server.shared_server()
    return "".join(server.sql(f"SELECT t::text FROM sagagen_engine.{table} t", database) for table in tables)


def _bring_back(gateway: SharedGateway, how: signal.Signals) -> None:
    if how is not signal.SIGSTOP:
        gateway.processes.pop("gateway").wait()
        gateway.start("gateway")


def test_a_gateway_without_its_database_says_so(tmp_path: Path) -> None:
    if why := postgres_server.missing():
        pytest.skip(why)
    with postgres_server.PostgresServer() as server:
        services = Stack(tmp_path / "services")
        gateway = SharedGateway(tmp_path / "gateway", services, server.url())
        try:
            services.start(*services.services)
            gateway.start("gateway")
            before = post_order(gateway, "before")
            assert before.status_code == 201
            _asks_there(server.url(), before.json()["order_id"], gateway.keys)
            server.stop()
            answer = eventually(
                "it to refuse",
                lambda: post_order(gateway, "meanwhile"),
                lambda answer: answer.status_code == 503,
            )
            assert answer.json()["reason"] == "NOT_ACCEPTED"
            assert answer.headers["retry-after"]
            assert gateway.http.get("/sagas/nobody").status_code == 503
            ready = gateway.http.get("/readyz")
            assert ready.status_code == 503
            assert "saga log" in ready.text
            server.start()
            eventually(
                "it to accept",
                lambda: post_order(gateway, "meanwhile"),
                lambda answer: answer.status_code == 201,
            )
            assert post_order(gateway, "before").status_code == 201, "a replay"
            eventually(
                "it to be ready", lambda: gateway.http.get("/readyz").status_code, lambda code: code == 200
            )
        finally:
            gateway.close()
            services.close()


def _asks_there(url: str, saga_id: str, keys: Path) -> None:
    """`sagagen sagas` beside the gateway: it looks into the log, and what is commanded the gateway does, or refuses."""
    listed = json.loads(_sagagen("sagas", "list", "--status", "ALL", "--log", url, "-o", "json").stdout)
    assert [saga["id"] for saga in listed["sagas"]] == [saga_id]
    assert "COMPLETED" in _sagagen("sagas", "show", saga_id, "--log", url).stdout
    retry = "sagas", "retry", saga_id, "--note", "again", "--log", url
    assert "is encrypted by the key k1" in _sagagen(*retry).stderr
    refused = _sagagen(*retry, keys=keys)
    assert refused.returncode == 1
    assert "over" in refused.stderr
    entries = json.loads(_sagagen("sagas", "audit", "--log", url, "-o", "json").stdout)["audit"]
    assert {entry["did"] for entry in entries} >= {"retry"}


def _sagagen(*words: str, keys: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sagagen", *words]
    given = {"SAGAGEN_ENCRYPTION_KEYS_FILE": str(keys)} if keys else {}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env={**os.environ, **given}
    )
