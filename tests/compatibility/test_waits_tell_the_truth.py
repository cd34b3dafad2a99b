"""What the diff says of waits, tried: an order waits for an approval when the changed contract is deployed."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from contract_pair import edited, resolved, severities, write_project
from shop_mesh import ORDER_ID, order
from small_mesh import running_engine, running_services
from test_diff_rules import CHARGE, CHECKOUT
from test_diff_tells_the_truth import Later, described, emitted_sagas
from waiting import eventually_async

from generated.mesh import MESH
from generated.pb.shop.order.v1 import GetOrderRequest
from sagagen.compatibility.change import Change
from sagagen.compatibility.compare import compare_contracts
from sagagen.contract import Mesh, Sources, load
from sagagen.runtime.engine.port import Delivery
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.rpc.transport import Transport
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.view import SagaView

APPROVE = """service CheckoutService {
  // Says that an order is fine.
  rpc Approve(shop.order.v1.GetOrderRequest) returns (shop.order.v1.CancelOrderResponse) {
    option (google.api.http) = { post: "/orders/{order_id}/approval" };
  }
  // Says that an order was looked at.
  rpc LookAt(shop.order.v1.GetOrderRequest) returns (shop.order.v1.CancelOrderResponse) {
    option (google.api.http) = { post: "/orders/{order_id}/look" };
  }
"""
PROTO = [(CHECKOUT, "service CheckoutService {\n", APPROVE)]
EVENTS = """    events:
      approved: { rpc: shop.checkout.v1.CheckoutService/Approve, saga_id: event.order_id, allow: 'true' }
    steps:
"""
WAIT = """      - name: approval
        wait: approved
        within: 20s
        on_timeout: continue
"""
DECLINES = "        on_timeout: { decline: NOT_APPROVED }\n"
CONTINUES = "        on_timeout: continue\n"

SEEN = (
    "      seen: { rpc: shop.checkout.v1.CheckoutService/LookAt, saga_id: event.order_id, allow: 'true' }\n"
)
BOTH_EVENTS = EVENTS.replace("    steps:\n", f"{SEEN}    steps:\n")
LOOK = WAIT.replace("approval", "look").replace("approved", "seen")

Edits = list[tuple[str, str]]
TWO_WAITS: Edits = [(EVENTS, BOTH_EVENTS), (WAIT, WAIT + LOOK)]
WAITS_FOR_THE_OTHER: Edits = [
    (EVENTS, BOTH_EVENTS),
    (WAIT, WAIT.replace("wait: approved", "wait: seen") + LOOK.replace("wait: seen", "wait: approved")),
]
DECLINES_ALL: Edits = [
    (CONTINUES, f"{CONTINUES}        decline: {{ when: event.order_id != '', reason: NOT_APPROVED }}\n")
]
TURNS_BACK: Edits = [(CONTINUES, DECLINES)]
BECOMES_A_DELAY: Edits = [
    (WAIT, "      - { name: approval, delay: { after: 1s } }\n"),
    (EVENTS, "    steps:\n"),
]


@cache
def sources() -> Sources:
    """The shop, whose orders have to be approved before they are charged; in 20 s, or else they go on."""
    with TemporaryDirectory() as folder:
        write_project(Path(folder), PROTO)
        found, diagnostics = load(Path(folder))
    assert not [each for each in diagnostics if each.severity == "error"], diagnostics
    text = edited(found.saga_yaml or "", "    steps:\n", EVENTS)
    return replace(found, saga_yaml=edited(text, CHARGE, WAIT + CHARGE))


def contract(edits: Edits) -> Mesh:
    text = sources().saga_yaml or ""
    for was, now in edits:
        text = edited(text, was, now)
    return resolved(replace(sources(), saga_yaml=text))


def deployed(folder: Path, edits: Edits) -> Saga:
    (saga,) = emitted_sagas(folder, contract(edits))
    return saga


def changes(edits: Edits, before: Edits | None = None) -> list[Change]:
    return list(compare_contracts(contract(before or []), contract(edits)))


def is_waiting(view: SagaView) -> bool:
    return any(step.name == "approval" and step.status == "WAITING" for step in view.steps)


async def begin(folder: Path, transports: dict[str, Transport], edits: Edits | None = None) -> Saga:
    saga = deployed(folder, edits or [])
    async with running_engine(folder, [saga], transports, grace_s=0.0) as engine:
        await engine.accept(order(50.0, saga=saga))
        await eventually_async("the wait", lambda: described(engine), is_waiting)
    return saga


async def told(folder: Path, transports: dict[str, Transport], saga: Saga) -> SagaView:
    """The order once it has been approved, and nothing is left to do but wait."""
    payload = bytes(GetOrderRequest(order_id=ORDER_ID))
    approved = Delivery(saga.name, ORDER_ID, "approved", "k1", payload, payload, "somebody")
    async with running_engine(folder, [saga], transports, grace_s=0.0) as engine:
        await engine.deliver(approved)
        return await eventually_async("what comes of it", lambda: described(engine), has_settled)


def has_settled(view: SagaView) -> bool:
    return not view.status.is_active or any(step.status == "WAITING" for step in view.steps)


async def looked_at(
    folder: Path,
    transports: dict[str, Transport],
    saga: Saga,
    later_s: float,
    is_so: Callable[[SagaView], bool],
) -> SagaView:
    """The order after a deployment, so many seconds later, once that is so."""
    async with running_engine(folder, [saga], transports, clock=Later(later_s), grace_s=0.0) as engine:
        return await eventually_async("what comes of it", lambda: described(engine), is_so)


def has(status: SagaStatus) -> Callable[[SagaView], bool]:
    return lambda view: view.status is status


async def test_a_wait_that_has_begun_keeps_its_end(tmp_path: Path) -> None:
    """SD309, and SD307 where it gets more time: neither has another digest, and neither is for those that wait."""
    shorter, longer = ([("within: 20s", f"within: {now}")] for now in ("1s", "50s"))
    assert (severities(changes(shorter)), severities(changes(longer))) == (
        {"SD309": "warning"},
        {"SD307": "safe"},
    )
    async with running_services(MESH, tmp_path) as transports:
        await begin(tmp_path, transports)
        still = await looked_at(tmp_path, transports, deployed(tmp_path, shorter), 8.0, is_waiting)
        assert still.status is SagaStatus.RUNNING
        await looked_at(tmp_path, transports, deployed(tmp_path, longer), 30.0, has(SagaStatus.COMPLETED))


@pytest.mark.parametrize(
    ("edits", "rule"), [(TURNS_BACK, "SD712"), (BECOMES_A_DELAY, "SD117"), (DECLINES_ALL, "SD711")]
)
async def test_an_open_order_waits_for_the_definition_that_it_began_with(
    edits: Edits, rule: str, tmp_path: Path
) -> None:
    found = severities(changes(edits))
    assert (found["SD004"], found[rule]) == ("breaking", "breaking")
    async with running_services(MESH, tmp_path) as transports:
        await begin(tmp_path, transports)
        view = await looked_at(
            tmp_path, transports, deployed(tmp_path, edits), 30.0, lambda view: bool(view.waiting_for)
        )
    assert view.status is SagaStatus.RUNNING


async def test_forced_it_turns_back_where_it_would_have_gone_on(tmp_path: Path) -> None:
    """SD712"""
    async with running_services(MESH, tmp_path) as transports:
        began = await begin(tmp_path, transports)
        forced = replace(deployed(tmp_path, TURNS_BACK), digest=began.digest)
        await looked_at(tmp_path, transports, forced, 30.0, has(SagaStatus.COMPENSATED))


@pytest.mark.parametrize(("edits", "ends"), [([], "COMPLETED"), (DECLINES_ALL, "COMPENSATED")])
async def test_forced_an_event_turns_back_where_the_order_would_have_gone_on(
    edits: Edits, ends: str, tmp_path: Path
) -> None:
    """SD711"""
    async with running_services(MESH, tmp_path) as transports:
        began = await begin(tmp_path, transports)
        forced = replace(deployed(tmp_path, edits), digest=began.digest)
        assert (await told(tmp_path, transports, forced)).status == ends


@pytest.mark.parametrize(
    ("edits", "waits", "unconsumed"),
    [(TWO_WAITS, "look", ()), (WAITS_FOR_THE_OTHER, "approval", ("approved",))],
)
async def test_forced_an_event_does_not_end_the_wait_that_it_was_sent_for(
    edits: Edits, waits: str, unconsumed: tuple[str, ...], tmp_path: Path
) -> None:
    """SD710"""
    found = severities(changes(WAITS_FOR_THE_OTHER, TWO_WAITS))
    assert (found["SD004"], found["SD710"]) == ("breaking", "breaking")
    async with running_services(MESH, tmp_path) as transports:
        began = await begin(tmp_path, transports, TWO_WAITS)
        forced = replace(deployed(tmp_path, edits), digest=began.digest)
        view = await told(tmp_path, transports, forced)
    assert [each.name for each in view.steps if each.status == "WAITING"] == [waits]
    assert view.unconsumed == unconsumed
