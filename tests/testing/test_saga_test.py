"""The face of the kit, on the shop: what a test of a project says, and what it is told."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from grpclib.const import Status as Code

from generated.mesh import MESH
from generated.pb.shop.inventory.v1 import ReserveStockRequest, ReserveStockResponse
from sagagen.runtime import Call, Declined, Gateway, HttpRequest, RpcError
from sagagen.testing import Moment, NotOnVirtualTime, SagaTest, TestMistake, saga_test, virtual_time

ORDER = {"customer_id": "ann", "items": [{"product_id": "prod_1", "quantity": 2, "price": 5.0}]}
ALL = ["create_order", "reserve_stock", "charge_payment", "confirm_order"]
RESERVED = "SELECT sum(reserved) AS n FROM stock"


def reserved(t: SagaTest) -> int:
    return t.databases["inventory"].rows(RESERVED)[0]["n"]


@virtual_time
async def test_an_order_goes_through() -> None:
    async with saga_test(MESH) as t:
        answer = await t.post("/orders", ORDER)
        assert answer.status == 201
        assert answer.saga is t.saga
        assert (t.saga.status, t.saga.failure) == ("COMPLETED", None)
        assert t.saga.called == t.saga.done == ALL
        assert reserved(t) == 2
        assert t.saga.calls[1].request.lines[0].product_id == "prod_1"
        assert t.saga.calls[0].response.order.total_minor == 1000
        shown = await t.get(f"/orders/{answer.json['order_id']}")
        assert shown.json["status"] == "CONFIRMED"
        assert t.now_s < 0.001


@virtual_time
async def test_what_fails_is_undone_last_to_first() -> None:
    async with saga_test(MESH) as t:
        t.fail("charge_payment", Declined("CARD_DECLINED"))
        await t.post("/orders", ORDER)
        assert t.saga.status == "COMPENSATED"
        assert t.saga.compensated == ["reserve_stock", "create_order"]
        assert t.saga.failure
        assert (t.saga.failure.step, t.saga.failure.reason) == ("charge_payment", "CARD_DECLINED")
        assert t.saga.called == [*ALL[:3], "undo reserve_stock", "undo create_order"]
        assert reserved(t) == 0


@virtual_time
async def test_a_failure_of_one_attempt_is_repeated() -> None:
    async with saga_test(MESH) as t:
        t.fail("reserve_stock", RpcError(Code.UNAVAILABLE), attempt=1)
        t.fail("reserve_stock", ZeroDivisionError("a bug"), attempt=2, late=True)
        await t.post("/orders", ORDER)
        outcomes = [call.outcome.partition(":")[0] for call in t.saga.calls if call.step == "reserve_stock"]
        assert outcomes == ["UNAVAILABLE", "INTERNAL", "DONE"]
        assert reserved(t) == 2
        assert t.now_s > 0


@virtual_time
async def test_a_compensation_that_fails_is_repeated_until_it_is_done() -> None:
    async with saga_test(MESH) as t:
        t.fail("charge_payment", Declined("NO"))
        t.fail("reserve_stock", RpcError(Code.INTERNAL), compensation=True, times=3)
        await t.post("/orders", ORDER)
        assert t.saga.status == "COMPENSATED"
        assert t.saga.called.count("undo reserve_stock") == 4
        assert t.saga.status_of("reserve_stock") == "COMPENSATED"


@pytest.mark.parametrize("moment", Moment)
@virtual_time
async def test_a_crash_at_any_moment_doubles_and_loses_nothing(moment: Moment) -> None:
    async with saga_test(MESH) as t:
        t.crash("reserve_stock", moment)
        answer = await t.post("/orders", ORDER)
        assert answer.status == 201
        assert t.saga.status == "COMPLETED"
        assert reserved(t) == 2
        assert not t.plan.unused


@virtual_time
async def test_messages_are_lost_late_and_doubled() -> None:
    async with saga_test(MESH) as t:
        t.lose_request("create_order")
        t.lose_answer("reserve_stock")
        t.delay("charge_payment", "5s")
        t.duplicate("confirm_order", late="1m")
        await t.post("/orders", ORDER)
        assert (t.saga.status, reserved(t)) == ("COMPLETED", 2)
        assert [call.attempt for call in t.saga.calls] == [1, 2, 1, 2, 1, 2, 1]
        await t.skip("2m")
        assert not t.plan.unused
        assert len(t.databases["payment"].execute("SELECT 1 FROM payments")) == 1


@virtual_time
async def test_processes_are_killed_and_started() -> None:
    async with saga_test(MESH) as t:
        t.kill("payment", "3s")
        await t.post("/orders", ORDER)
        assert t.saga.status == "COMPLETED"
        assert t.now_s > 3
        t.kill("gateway")
        with pytest.raises(TestMistake, match="the gateway is down"):
            await t.post("/orders", ORDER)
        await t.restart("gateway")
        await t.restart("inventory")
        assert (await t.post("/orders", ORDER)).saga.status == "COMPLETED"
        assert reserved(t) == 4


@virtual_time
async def test_a_saga_that_loses_its_gateway_is_resumed() -> None:
    async with saga_test(MESH) as t:
        t.crash_after("create_order")
        t.crash_before("charge_payment")
        answer = await t.post("/orders", ORDER, key="mine")
        assert answer.status == 201
        assert t.saga.called == ["create_order", *ALL[:3], *ALL[2:]]
        again = await t.post("/orders", ORDER, key="mine")
        assert (again.status, again.body) == (answer.status, answer.body)
        assert again.headers["idempotency-replayed"] == "true"


class SoldOut:
    """Stands for the inventory, and does only what this test needs."""

    async def reserve_stock(self, _request: ReserveStockRequest, _call: Call) -> ReserveStockResponse:
        raise Declined("SOLD_OUT")


class NotAsync:
    def reserve_stock(self, _request: ReserveStockRequest, _call: Call) -> ReserveStockResponse:
        return ReserveStockResponse()


class Careless:
    """Has none of the service's methods."""


@virtual_time
async def test_a_fake_stands_for_a_service() -> None:
    async with saga_test(MESH, handlers={"inventory": SoldOut()}) as t:
        answer = await t.post("/orders", ORDER)
        assert answer.status == 201
        assert (t.saga.status, t.saga.compensated) == ("COMPENSATED", ["create_order"])


@virtual_time
async def test_a_fake_that_lacks_a_method_is_named_when_that_is_called() -> None:
    said = "Careless stands for service inventory and has no reserve_stock"
    async with saga_test(MESH, handlers={"inventory": Careless()}) as t:
        with pytest.raises(TestMistake, match=said):
            await t.post("/orders", ORDER)
        t.world.mistakes.clear()


MISTAKES: list[tuple[str, str]] = [
    ("t.fail('charge_paymnt', E)", r'no step "charge_paymnt"; did you mean "charge_payment"\?'),
    ("t.fail('charge_payment[1]', E)", r'"charge_payment" is no loop'),
    ("t.fail('confirm_order', E, compensation=True)", r'"confirm_order" has no compensation'),
    ("t.fail('create_order', E, attempt=0)", "attempts are counted from 1"),
    ("t.crash('create_order', 'anserwed')", r'did you mean "answered"\?'),
    ("t.kill('paymnt')", r'no process "paymnt"; did you mean "payment"\?'),
    ("t.databases['stock']", r'no database "stock"\. There are: order, inventory'),
    ("t.saga", "no saga was accepted yet"),
]


@virtual_time
async def test_what_a_test_gets_wrong_is_told_with_the_way_out() -> None:
    async with saga_test(MESH) as t:
        for text, said in MISTAKES:
            with pytest.raises(TestMistake, match=said):
                eval(text, {"t": t, "E": Declined("NO")})
        with pytest.raises(TestMistake, match=r'"POST /order"; did you mean "POST /orders"\?'):
            await t.post("/order", ORDER)
        await t.post("/orders", ORDER)
        with pytest.raises(TestMistake, match=r'event of saga place_order "paid"\. There are none'):
            await t.send("paid")
        with pytest.raises(TestMistake, match="of no rpc that it cancels saga place_order"):
            await t.cancel()
        await t.post("/orders", ORDER)
        with pytest.raises(TestMistake, match="2 sagas were accepted, so which is meant"):
            _ = t.saga
        with pytest.raises(ValueError, match="no duration: write 500ms, 90s"):
            await t.skip("ten minutes")
        assert (await t.get("/orders/nothing")).status == 404
    with pytest.raises(TestMistake, match=r"NotAsync.reserve_stock can't be a handler of service inventory"):
        saga_test(MESH, handlers={"inventory": NotAsync})
    with pytest.raises(TestMistake, match=r'no service "inventry"; did you mean "inventory"\?'):
        saga_test(MESH, handlers={"inventry": SoldOut()})


def broken(_request: HttpRequest) -> str:
    raise ZeroDivisionError


@virtual_time
async def test_a_hook_that_fails_is_answered_as_in_production() -> None:
    async with saga_test(MESH, gateway=Gateway(MESH, caller=broken)) as t:
        assert (await t.post("/orders", ORDER)).status == 500
        assert t.sagas == []


async def test_a_loop_on_real_time_is_told_from_a_virtual_one() -> None:
    with pytest.raises(NotOnVirtualTime, match="put @virtual_time"):
        saga_test(MESH)


@virtual_time
async def wrong_about_a_bug() -> None:
    async with saga_test(MESH) as t:
        t.fail("charge_payment", ZeroDivisionError("a bug"), attempt=1)
        await t.post("/orders", ORDER)
        assert t.saga.status == "COMPENSATED"


def test_a_failing_test_shows_what_happened() -> None:
    with pytest.raises(AssertionError) as caught:
        wrong_about_a_bug()
    (note,) = caught.value.__notes__
    assert "payment handles charge_payment #1 of" in note
    assert "error: the handler failed rpc=/shop.payment.v1.PaymentService/ChargePayment" in note
    assert note.endswith("ZeroDivisionError: a bug\n")


TOLD = """
import json
from generated.mesh import MESH
from sagagen.runtime import Declined
from sagagen.testing import saga_test, virtual_time

@virtual_time
async def run():
    async with saga_test(MESH, seed=7) as t:
        t.crash("create_order", "committed")
        t.fail("charge_payment", ZeroDivisionError(), times=3)
        t.fail("confirm_order", Declined("NO"))
        await t.post("/orders", ORDER)
        t.crash("reserve_stock", "recorded", compensation=True)
        await t.post("/orders", ORDER)
        return t.world.story()

print("---"); print(run())
"""


def test_the_same_seed_is_the_same_run_whatever_the_hash_seed() -> None:
    """Also in another process, and at another time."""
    program = f"ORDER = {json.dumps(ORDER)}\n{TOLD}"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(MESH.root)},
            cwd=MESH.root,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    told = [each.communicate(timeout=300)[0].partition("---")[2] for each in running]
    assert len(told[0].splitlines()) > 50
    assert told[0] == told[1]


def test_another_seed_is_another_run() -> None:
    @virtual_time
    async def run(seed: int) -> list[Any]:
        async with saga_test(MESH, seed=seed) as t:
            t.fail("charge_payment", ZeroDivisionError(), times=3)
            await t.post("/orders", ORDER)
            return [t.now_s]

    assert run(1) == run(1) != run(2)
