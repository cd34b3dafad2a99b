"""Handlers that a person got wrong make rows red, with a message that names the step and the table."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from stack import REPOSITORY

from generated.mesh import MESH
from generated.pb.shop.inventory.v1 import ReleaseStockRequest, ReleaseStockResponse, ReserveStockRequest
from generated.pb.shop.order.v1 import CancelOrderRequest, CancelOrderResponse
from generated.pb.shop.payment.v1 import RefundPaymentRequest, RefundPaymentResponse
from handlers.inventory import InventoryService, ReserveStockResponse
from handlers.order import OrderService
from handlers.payment import PaymentService
from sagagen.runtime import Call
from sagagen.runtime.process.project import Project
from sagagen.testing.matrix.running import Options, matrices, run
from sagagen.testing.matrix.snapshots import SNAPSHOTS
from sagagen.testing.matrix.verdicts import Result, Verdict

pytestmark = pytest.mark.slow

APPROVED = REPOSITORY / "codegen" / "sagagen" / "scaffold" / "templates" / "shop" / SNAPSHOTS
TURNED_BACK = "place_order/turned-back"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The shop, with what the template approves; what is approved here is not written there."""
    shutil.copytree(APPROVED, tmp_path / SNAPSHOTS)
    (tmp_path / "gateway").symlink_to(REPOSITORY / "gateway")
    return Project(tmp_path, MESH)


def played(project: Project, broken: Mapping[str, object], *only: str) -> dict[str, Verdict]:
    """Verdicts by the rows' names, with these handlers in place of the shop's."""
    own = {"order": OrderService(), "inventory": InventoryService(), "payment": PaymentService()}
    found = run(matrices(project, handlers={**own, **broken}), Options(only or (TURNED_BACK,)))
    return {verdict.row.name: verdict for each in found for verdict in each.verdicts}


class UndoesTooMuch(PaymentService):
    async def refund_payment(self, request: RefundPaymentRequest, call: Call) -> RefundPaymentResponse:
        await call.db.execute("UPDATE payments SET status = 'REFUNDED'")
        return RefundPaymentResponse()


class ForgetsToUndo(InventoryService):
    async def release_stock(self, request: ReleaseStockRequest, call: Call) -> ReleaseStockResponse:
        return ReleaseStockResponse()


class GivesBackTwice(InventoryService):
    async def release_stock(self, request: ReleaseStockRequest, call: Call) -> ReleaseStockResponse:
        await call.db.execute("UPDATE stock SET available = available + 1 WHERE product_id = 'prod_1'")
        return await super().release_stock(request, call)


class CannotUndo(OrderService):
    async def cancel_order(self, request: CancelOrderRequest, call: Call) -> CancelOrderResponse:
        raise KeyError("order_id")


class CountsAttempts(InventoryService):
    """Each run of the handler counts, whatever becomes of it."""

    runs = 0

    async def reserve_stock(self, request: ReserveStockRequest, call: Call) -> ReserveStockResponse:
        response = await super().reserve_stock(request, call)
        CountsAttempts.runs += 1
        if call.attempt > 1:
            await call.db.execute("UPDATE stock SET reserved = reserved + 1 WHERE product_id = 'prod_1'")
        return response


def test_the_shop_s_own_handlers_leave_what_is_approved(project: Project) -> None:
    for verdict in played(project, {}, "*/turned-back", "*/straight", "*/answer-lost").values():
        assert verdict.result is Result.OK, verdict.lines()


def test_what_nobody_has_approved_is_new_until_somebody_does(project: Project) -> None:
    path = project.root / SNAPSHOTS / "place_order.txt"
    approved = path.read_text()
    path.unlink()
    verdict = played(project, {})[TURNED_BACK]
    assert verdict.result is Result.NEW
    assert verdict.lines()[:2] == ["nobody has approved what it leaves:", "  COMPENSATED"]
    own = {"order": OrderService(), "inventory": InventoryService(), "payment": PaymentService()}
    run(matrices(project, handlers=own), Options((TURNED_BACK,), approve=True))
    kept = path.read_text()
    assert "when the saga: turned-back\n" in kept
    left = [line for line in kept.splitlines() if line.startswith("left ")]
    assert [line for line in left if line not in approved] == []
    assert played(project, {})[TURNED_BACK].result is Result.OK
    assert path.read_text() == kept, "only --approve writes"


def test_one_that_undoes_too_much_is_found_before_anybody_approves(project: Project) -> None:
    verdict = played(project, {"payment": UndoesTooMuch()})[TURNED_BACK]
    assert verdict.result is Result.FAILED
    (said,) = verdict.problems
    assert said.startswith(
        "a row of another saga has changed: payment.payments ~ order_id=<other>: status CHARGED"
    )
    assert "undo charge_payment" in said


def test_one_that_undoes_nothing_is_found(project: Project) -> None:
    verdict = played(project, {"inventory": ForgetsToUndo()})[TURNED_BACK]
    assert verdict.result is Result.CHANGED
    assert any(
        line.startswith(
            "+ note step reserve_stock: release_stock changes nothing, though reserve_stock has changed "
        )
        and line.endswith("inventory.reservations, inventory.stock")
        for line in verdict.unlike
    ), verdict.unlike
    assert any("inventory.reservations + order_id=<saga>" in line for line in verdict.unlike)


def test_one_that_gives_back_too_much_is_found(project: Project) -> None:
    verdict = played(project, {"inventory": GivesBackTwice()})[TURNED_BACK]
    assert verdict.result is Result.CHANGED
    more = "+ left inventory.stock ~ product_id=prod_1: available 999 -> 1000"
    assert f"{more} (written by reserve_stock, undo reserve_stock)" in verdict.unlike


def test_one_that_fails_each_time_is_found(project: Project) -> None:
    verdict = played(project, {"order": CannotUndo()})[TURNED_BACK]
    assert verdict.result is Result.FAILED
    assert verdict.problems[0].startswith("it ends STUCK at create_order (INTERNAL")
    assert any("KeyError: 'order_id'" in line for line in verdict.story)


def test_one_that_does_more_when_it_is_repeated_is_found(project: Project) -> None:
    name = "place_order/reserve_stock/service-crash-before"
    verdict = played(project, {"inventory": CountsAttempts()}, name)[name]
    assert CountsAttempts.runs
    assert verdict.result is Result.FAILED
    assert verdict.problems == (
        "unlike straight it does not leave inventory.stock ~ product_id=prod_1: available 999 -> 998, reserved 1 -> 2 "
        "(written by reserve_stock)",
        "unlike straight it leaves inventory.stock ~ product_id=prod_1: available 999 -> 998, reserved 1 -> 3 "
        "(written by reserve_stock)",
    )
