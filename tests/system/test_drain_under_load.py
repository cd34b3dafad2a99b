"""SIGTERM while orders are placed: it ends in time, loses none that it accepted, and doubles none (P12, P13)."""

import asyncio
import signal
import threading

import pytest
from placing_orders import assert_all_ended_well, place
from stack import Stack
from thorough import chosen
from waiting import eventually, under_load

pytestmark = pytest.mark.slow

ORDERS = 60


@pytest.mark.parametrize("topology", chosen(["mesh", "up"], first=1))
def test_what_was_accepted_before_the_signal_ends_after_the_restart(stack: Stack, topology: str) -> None:
    stack.start(topology)
    accepted: list[str] = []
    load = threading.Thread(target=lambda: accepted.extend(asyncio.run(place(stack, ORDERS, "load"))))
    load.start()
    eventually("the first order", lambda: stack.rows("order", "SELECT 1 FROM orders LIMIT 1"), every_s=0.01)
    exit_code, took_s = stack.terminate(topology, signal.SIGTERM)
    load.join()
    assert exit_code == 0, stack.log_path.read_text()
    assert took_s < under_load(10)
    assert accepted
    stack.start(topology)
    # The same keys again, as clients do: those that were accepted are found, the others are new.
    again = asyncio.run(place(stack, ORDERS, "load"))
    assert set(accepted) <= set(again)
    assert_all_ended_well(stack, again)
    assert len(stack.rows("order", "SELECT 1 FROM orders")) == ORDERS
    assert "Traceback" not in stack.log_path.read_text()


def test_a_gateway_that_may_run_one_saga_refuses_the_rest_and_finishes_what_it_took(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGAGEN_MAX_RUNNING", "1")
    stack.start("up")
    ids = asyncio.run(place(stack, 30, "burst", tries=0))
    assert_all_ended_well(stack, ids)
    assert len(stack.rows("order", "SELECT 1 FROM orders")) == len(set(ids)) < 30
    assert stack.http.get("/readyz").status_code == 200
