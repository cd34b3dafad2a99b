"""A shop with open sagas moves to PostgreSQL, and back: all of them end, none twice."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import postgres_server
import pytest
from moving_stack import MovingStack
from placing_orders import place
from postgres_server import PostgresServer
from shop_invariants import assert_shop_is_consistent
from stack import place_order, post_order
from thorough import TRIES_ALL
from waiting import LIMIT_S, eventually

pytestmark = pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-")

ORDERS = 200 if TRIES_ALL else 18
STATES = "SELECT status, count(*) AS n FROM saga GROUP BY status"
RESERVED = "SELECT DISTINCT order_id FROM reservations"
CALLS = "SELECT saga, step, direction, run, state FROM {} WHERE state <> 'OWNER' ORDER BY 1, 2, 3"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[MovingStack]:
    with PostgresServer() as server, closing(MovingStack(tmp_path / "var", server)) as stack:
        stack.log_path = tmp_path / "processes.log"
        yield stack


def copy(stack: MovingStack, service: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "sagagen",
        "store",
        "copy",
        service,
        "--project",
        str(stack.root),
        *options,
    ]
    return subprocess.run(
        command, env=stack.environment("up"), capture_output=True, text=True, check=False, timeout=LIMIT_S
    )


def states(stack: MovingStack) -> dict[str, int]:
    return {row["status"]: row["n"] for row in stack.rows("saga-log", STATES)}


def open_in(stack: MovingStack) -> int:
    return sum(
        count for state, count in states(stack).items() if state in ("RUNNING", "COMPENSATING", "STUCK")
    )


def placed(stack: MovingStack, count: int, prefix: str) -> threading.Thread:
    placing = threading.Thread(target=lambda: asyncio.run(place(stack, count, prefix, tries=300)))
    placing.start()
    return placing


def stop_in_the_middle(stack: MovingStack, processes: tuple[str, ...]) -> None:
    """Leave sagas before, in and behind each step, and some of them on their way back."""
    place_order(stack, "before")
    eventually("the first to end", lambda: open_in(stack) == 0)
    with ExitStack() as held:
        with stack.holding_writes("payment"):
            placed(stack, ORDERS * 2 // 3, "payment").join()
            eventually("stock to be reserved", lambda: len(stack.rows("inventory", RESERVED)) > ORDERS // 2)
            held.enter_context(stack.holding_writes("inventory"))
            placed(stack, ORDERS // 3, "stock").join()
            assert open_in(stack) >= ORDERS * 9 // 10
        eventually("some on their way back", lambda: states(stack).get("COMPENSATING", 0) > 0, every_s=0.002)
        stack.kill(*processes)


@pytest.mark.slow
def test_a_shop_with_open_sagas_goes_on_where_it_was_copied_to(shop: MovingStack, tmp_path: Path) -> None:
    processes = (*shop.services, "gateway") if TRIES_ALL else ("up",)
    shop.is_on_postgres = False
    shop.start(*processes)
    refused = copy(shop, "order", "--to", shop.database("order"))
    assert (refused.returncode, "is in use by process" in refused.stderr) == (1, True), refused.stderr
    stop_in_the_middle(shop, processes)
    was = states(shop)
    assert open_in(shop) > ORDERS // 3, was
    print("when they were stopped:", was)

    shop.is_on_postgres = True
    for service in shop.services:
        done = copy(shop, service)
        assert done.returncode == 0, done.stderr
        assert "each compared with what was sent" in done.stdout
        assert f"SAGAGEN_{service.upper()}_DATABASE_URL" in done.stdout
        shop.is_on_postgres = False
        calls = [tuple(row) for row in shop.rows(service, CALLS.format("sagagen_barrier"))]
        shop.is_on_postgres = True
        assert calls == [
            tuple(row.values()) for row in shop.rows(service, CALLS.format(f"sagagen_{service}.barrier"))
        ]
        again = copy(shop, service)
        assert (again.returncode, "--replace" in again.stderr) == (1, True), again.stderr
    shop.start(*processes)
    eventually("every saga to end", lambda: open_in(shop) == 0)
    assert_shop_is_consistent(shop)
    assert set(states(shop)) <= {"COMPLETED", "COMPENSATED"}
    assert post_order(shop, "before").status_code == 201, "it is known, and its effects are there once"
    running = copy(shop, "order", "--to", str(tmp_path / "back.db"))
    assert (running.returncode, "stop all its replicas first" in running.stderr) == (1, True), running.stderr
    for process in processes:
        shop.terminate(process)

    for service in shop.services:
        (shop.data_dir / f"{service}.db").unlink()
        done = copy(shop, service, "--to", str(shop.data_dir / f"{service}.db"), "-o", "json")
        assert done.returncode == 0, done.stderr
        assert '"table": "sagagen_barrier"' in done.stdout
    shop.is_on_postgres = False
    shop.start(*processes)
    place_order(shop, "after")
    eventually("the last to end", lambda: open_in(shop) == 0)
    assert_shop_is_consistent(shop)
    assert post_order(shop, "before").status_code == 201
