"""A service that is down for longer than many attempts, or frozen: no order is lost to it."""

import signal

import pytest
from placing_orders import assert_all_ended_well, place
from shop_invariants import CONFIRMED
from stack import Stack
from waiting import eventually_async

pytestmark = pytest.mark.slow
COUNT = 30


async def test_no_order_is_lost_to_a_payment_service_that_is_away_for_many_attempts(
    patient_shop: Stack,
) -> None:
    stack = patient_shop
    stack.start_each()
    stack.kill("payment")
    saga_ids = await place(stack, COUNT, "away")
    assert len(saga_ids) == COUNT
    await _until_attempted(stack, saga_ids, 6)
    stack.start("payment")
    assert_all_ended_well(stack, saga_ids)
    confirmed = stack.rows("order", f"SELECT 1 FROM orders WHERE status = {CONFIRMED}")
    assert len(confirmed) == COUNT - COUNT // 5


async def test_a_frozen_payment_service_costs_time_and_no_effect(patient_shop: Stack) -> None:
    stack = patient_shop
    stack.start_each()
    payment = stack.processes["payment"]
    payment.send_signal(signal.SIGSTOP)
    try:
        saga_ids = await place(stack, COUNT, "frozen")
        await _until_attempted(stack, saga_ids, 3)  # so two of them have timed out
    finally:
        payment.send_signal(signal.SIGCONT)
    assert len(saga_ids) == COUNT
    assert_all_ended_well(stack, saga_ids)


async def _until_attempted(stack: Stack, saga_ids: list[str], times: int) -> None:
    """Wait until every saga has tried its payment so often."""

    def attempts() -> list[int]:
        sagas = [stack.http.get(f"/sagas/{saga_id}").json() for saga_id in saga_ids]
        return [
            step["attempts"] for saga in sagas for step in saga["steps"] if step["name"] == "charge_payment"
        ]

    await eventually_async(
        f"{times} attempts of each payment", attempts, lambda all_: min(all_) >= times, every_s=0.2
    )
