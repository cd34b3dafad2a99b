"""A running service and deliveries that no engine would wish for: twice, out of order, late, cut off."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from stack import Stack
from waiting import LIMIT_S, eventually_async

from generated.pb.shop.payment.v1 import ChargePaymentRequest, RefundPaymentRequest
from generated.services.payment import CHARGE_PAYMENT, REFUND_PAYMENT
from sagagen.runtime.model.definition import Direction, Method, StepKind
from sagagen.runtime.rpc.errors import Code, RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.transports.grpc.client import GrpcTransport

pytestmark = pytest.mark.slow


class Payment:
    """The payment service in a process of its own, called as an engine calls it."""

    def __init__(self, stack: Stack, transport: GrpcTransport) -> None:
        self.stack = stack
        self._transport = transport

    async def charge(
        self, saga_id: str, amount_minor: int = 500, *, attempt: int = 1, timeout_s: float = LIMIT_S
    ) -> Reply:
        request = ChargePaymentRequest(order_id=saga_id, customer_id="c", amount_minor=amount_minor)
        return await self._call(CHARGE_PAYMENT, bytes(request), saga_id, Direction.ACTION, attempt, timeout_s)

    async def refund(self, saga_id: str, *, attempt: int = 1) -> Reply:
        request = bytes(RefundPaymentRequest(order_id=saga_id))
        return await self._call(REFUND_PAYMENT, request, saga_id, Direction.COMPENSATION, attempt, LIMIT_S)

    async def _call(
        self,
        method: Method[Any, Any],
        request: bytes,
        saga_id: str,
        direction: Direction,
        attempt: int,
        timeout_s: float,
    ) -> Reply:
        now_ms = time.time_ns() // 1_000_000
        call = SagaCall(
            saga_id=saga_id,
            run="00000000000000aa",
            started_ms=now_ms,
            step="charge_payment",
            kind=StepKind.COMPENSATABLE,
            direction=direction,
            attempt=attempt,
            not_after_ms=now_ms + round(LIMIT_S * 1000),
        )
        return await self._transport.call(
            method.path, request, metadata=call.to_metadata(), timeout_s=timeout_s
        )

    def rows(self, saga_id: str) -> list[str]:
        found = self.stack.rows("payment", f"SELECT status FROM payments WHERE order_id = '{saga_id}'")
        return [row["status"] for row in found]


@pytest.fixture
async def payment(stack: Stack) -> AsyncIterator[Payment]:
    stack.start("payment")
    async with GrpcTransport("127.0.0.1", stack.listens("payment")) as transport:
        yield Payment(stack, transport)


async def test_every_request_delivered_twice_has_one_effect_and_one_answer(payment: Payment) -> None:
    first, second = await asyncio.gather(payment.charge("twice"), payment.charge("twice"))
    assert first.response == second.response
    assert payment.rows("twice") == ["CHARGED"]
    assert (await payment.refund("twice")).response == (await payment.refund("twice", attempt=2)).response
    assert payment.rows("twice") == ["REFUNDED"]


async def test_a_compensation_that_comes_first_blocks_its_action_for_good(payment: Payment) -> None:
    await payment.refund("early")
    with pytest.raises(RpcError) as refused:
        await payment.charge("early")
    assert (refused.value.domain, refused.value.reason) == ("sagagen", "STEP_COMPENSATED")
    payment.stack.kill("payment")
    payment.stack.start("payment")
    # The first call finds the connection gone.
    refusal = await eventually_async(
        "an answer of the new process",
        lambda: _refusal(payment.charge("early", attempt=2)),
        lambda error: error.code is not Code.UNAVAILABLE,
    )
    assert refusal.reason == "STEP_COMPENSATED"
    assert payment.rows("early") == []


async def _refusal(calling: Awaitable[Reply]) -> RpcError:
    with pytest.raises(RpcError) as refused:
        await calling
    return refused.value


async def test_a_delayed_first_copy_gets_the_refusal_that_the_second_got(payment: Payment) -> None:
    with pytest.raises(RpcError) as second:
        await payment.charge("refused", 600_00, attempt=2)
    with pytest.raises(RpcError) as first:
        await payment.charge("refused", 600_00, attempt=1)
    assert first.value.is_refusal
    assert second.value.is_refusal
    assert first.value.reason == second.value.reason == "PAYMENT_LIMIT_EXCEEDED"
    assert payment.rows("refused") == []


async def test_a_storm_of_clients_that_time_out_wedges_nothing(payment: Payment) -> None:
    async def impatient(number: int) -> None:
        with contextlib.suppress(RpcError):
            await payment.charge(f"storm-{number}", timeout_s=0.002)

    async with asyncio.TaskGroup() as group:
        for number in range(300):
            group.create_task(impatient(number))
    for number in range(300):
        await payment.charge(f"storm-{number}", attempt=2)
        assert payment.rows(f"storm-{number}") == ["CHARGED"]
