"""A service that is down for longer than many attempts, or frozen: no order is lost to it."""

import asyncio
import signal

import pytest
from placing_orders import assert_all_ended_well, place
from shop_invariants import CONFIRMED
from stack import Stack

pytestmark = pytest.mark.slow
COUNT = 30


async def test_no_order_is_lost_to_a_payment_service_that_is_away_for_ten_seconds(stack: Stack) -> None:
    stack.start_each()
    stack.kill("payment")
    saga_ids = await place(stack, COUNT, "away")
    assert len(saga_ids) == COUNT
    await asyncio.sleep(10)
    stack.start("payment")
    assert_all_ended_well(stack, saga_ids)
    confirmed = stack.rows("order", f"SELECT 1 FROM orders WHERE status = {CONFIRMED}")
    assert len(confirmed) == COUNT - COUNT // 5


async def test_a_frozen_payment_service_costs_time_and_no_effect(stack: Stack) -> None:
    stack.start_each()
    payment = stack.processes["payment"]
    payment.send_signal(signal.SIGSTOP)
    try:
        saga_ids = await place(stack, COUNT, "frozen")
        await asyncio.sleep(5)  # longer than two attempts' time-outs
    finally:
        payment.send_signal(signal.SIGCONT)
    assert len(saga_ids) == COUNT
    assert_all_ended_well(stack, saga_ids)
