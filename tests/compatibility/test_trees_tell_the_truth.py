"""What the diff says of trees, tried: orders are at their payment, in a branch, when the changed contract is deployed.

Engine, log, services and databases are the real ones; the definitions are emitted and loaded as a deployment would
have them. What a saga under way has in its log it never reads again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from contract_pair import edited, resolved, severities, shop
from shop_mesh import order
from small_mesh import running_engine, running_services
from test_diff_rules import CHARGE, CONFIRM, RESERVE
from test_diff_tells_the_truth import Away, Later, described, emitted_sagas, go_on, rows
from thorough import chosen
from waiting import eventually_async

from generated.mesh import MESH
from sagagen.cli.diff_running import as_listed
from sagagen.compatibility.change import Change
from sagagen.compatibility.compare import compare_contracts
from sagagen.compatibility.running import OpenSaga
from sagagen.contract import Mesh
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.rpc.transport import Transport
from sagagen.runtime.saga.events import START, SagaStatus
from sagagen.runtime.saga.search import SagaQuery
from sagagen.runtime.saga.view import SagaView

B, W, S = "breaking", "warning", "safe"


def indented(step: str) -> str:
    return "".join(f"      {line}" for line in step.splitlines(keepends=True))


STOCK = f"          stock:\n{indented(RESERVE)}"
MONEY = f"          money:\n{indented(CHARGE)}"
PREPARE = f"      - name: prepare\n        parallel:\n{STOCK}{MONEY}"
PAUSE = """      - name: pause
        delay: { after: 100ms }
"""
LOOK_UP = """      - name: look_up
        kind: retriable
        for_each: { item: line, in: input.items, key: line.product_id, at_once: 1 }
        call: inventory/GetStock
        request: { product_id: line.product_id }
"""
NAP = "            - { name: nap, delay: { after: 100ms } }\n"
WHEN = "              when: size(input.items) > 0\n"

Edits = Sequence[tuple[str, str]]
CASES: dict[str, tuple[Edits, dict[str, str]]] = {
    "branches are reordered": ([(STOCK + MONEY, MONEY + STOCK)], {"SD120": S}),
    "a branch is renamed": ([("          money:\n", "          cash:\n")], {"SD120": S}),
    "a loop's variable is renamed": (
        [("item: line,", "item: each,"), ("key: line.", "key: each."), ("{ product_id: line.", "{ product_id: each.")],
        {},
    ),
    "a loop does more at once": ([("at_once: 1", "at_once: 5")], {"SD311": W}),
    "a loop takes more items": ([("at_once: 1", "at_once: 1, max_items: 500")], {"SD313": S}),
    "a fixed delay is longer": ([("after: 100ms }\n", "after: 200ms }\n")], {"SD310": W}),
    "an index is added": ([("    respond:\n", "    index: { who: input.customer_id }\n    respond:\n")], {"SD741": S}),
    "a step goes out of its branch": (
        [(MONEY + PAUSE, CHARGE + PAUSE)],
        {"SD004": B, "SD116": B},
    ),
    "a step goes into a branch": (
        [(PREPARE + PAUSE, PREPARE + "            - { name: pause, delay: { after: 100ms } }\n")],
        {"SD004": B, "SD116": B},
    ),
    "branches become steps": ([(PREPARE, RESERVE + CHARGE)], {"SD004": B, "SD116": B}),
    "a branch is added": ([(PREPARE, f"{PREPARE}          other:\n{NAP}")], {"SD004": B, "SD118": B}),
    "a step is put into a branch": ([(MONEY, MONEY + NAP)], {"SD004": B, "SD105": B}),
    "a block is renamed": ([("name: prepare", "name: get_ready")], {"SD004": B, "SD103": B}),
    "a condition is added": (
        [("      - name: look_up\n        kind: retriable\n", "      - name: look_up\n        kind: retriable\n        when: line.quantity > 0\n")],
        {"SD004": B, "SD121": B},
    ),
    "a loop over another list": (
        [("in: input.items,", "in: 'input.items.filter(i, i.quantity > 1)',")],
        {"SD004": B, "SD122": B},
    ),
    "a loop with another key": ([("key: line.product_id, ", "")], {"SD004": B, "SD123": B}),
    "a loop becomes a call": (
        [("        for_each: { item: line, in: input.items, key: line.product_id, at_once: 1 }\n", ""), ("{ product_id: line.product_id }", "{ product_id: 'input.items[0].product_id' }")],
        {"SD004": B, "SD117": B},
    ),
    "a step is given up": ([(LOOK_UP, LOOK_UP + "        on_give_up: continue\n")], {"SD004": B, "SD124": B}),
    "a delay is removed": ([(PAUSE, "")], {"SD004": B, "SD102": W}),
}  # fmt: skip


SHOP_TO_TREE = (RESERVE + CHARGE + CONFIRM, PREPARE + PAUSE + CONFIRM + LOOK_UP)


def contract(edits: Edits = ()) -> Mesh:
    """The shop, whose stock and money are seen to at once, with a delay before its pivot and a loop after it."""
    sources, _ = shop()
    text = edited(sources.saga_yaml or "", *SHOP_TO_TREE)
    for was, now in edits:
        text = edited(text, was, now)
    return resolved(replace(sources, saga_yaml=text))


@cache
def base() -> Mesh:
    return contract()


def changes(name: str) -> list[Change]:
    return list(compare_contracts(base(), contract(CASES[name][0])))


async def begin(folder: Path, transports: dict[str, Transport], price: float, saga: Saga) -> None:
    """An order that waits in one branch, for its payment; the other is done."""
    without_payment = {**transports, "payment": Away()}
    async with running_engine(folder, [saga], without_payment, grace_s=0.0) as engine:
        await engine.accept(order(price, saga=saga))
        await eventually_async(
            "an attempt of the payment", lambda: described(engine), lambda saga: is_waiting(saga)
        )


def is_waiting(saga: SagaView) -> bool:
    steps = {step.name: step for step in saga.steps}
    reserved = [step for name, step in steps.items() if name.startswith("reserve_stock")]
    return any(step.status == "DONE" for step in reserved) and steps["charge_payment"].attempts > 0


def deployed(folder: Path, edits: Edits = ()) -> Saga:
    (saga,) = emitted_sagas(folder, contract(edits))
    return saga


GOES_ON = [name for name, (_, expected) in CASES.items() if "SD004" not in expected]
WAITS = [name for name in CASES if name not in GOES_ON]


@pytest.mark.parametrize("name", [*chosen(GOES_ON, first=4), *chosen(WAITS, first=4)])
async def test_an_order_in_a_branch_goes_on_if_and_only_if_the_diff_says_so(
    name: str, tmp_path: Path
) -> None:
    edits, expected = CASES[name]
    assert severities(changes(name)) == expected
    async with running_services(MESH, tmp_path) as transports:
        await begin(tmp_path, transports, 50.0, deployed(tmp_path))
        view = await go_on(tmp_path, transports, [deployed(tmp_path, edits)])
    assert bool(view.waiting_for) is ("SD004" in expected)
    assert view.status is (SagaStatus.RUNNING if view.waiting_for else SagaStatus.COMPLETED)


async def forced(folder: Path, edits: Edits, price: float = 50.0, of: Edits = ()) -> SagaView:
    """What the engine's refusal to go on with another digest prevents."""
    async with running_services(MESH, folder) as transports:
        began = deployed(folder, of)
        await begin(folder, transports, price, began)
        return await go_on(folder, transports, [replace(deployed(folder, edits), digest=began.digest)])


def statuses(view: SagaView) -> dict[str, str]:
    return {step.name: step.status for step in view.steps}


async def test_an_open_order_skips_what_it_would_have_done(tmp_path: Path) -> None:
    """SD121: a condition is asked when its element begins."""
    condition = "        kind: retriable\n        when: line.quantity > 5\n"
    view = await forced(tmp_path, [("        kind: retriable\n", condition)])
    assert view.status is SagaStatus.COMPLETED
    assert "SKIPPED" in str(view.steps)


async def test_what_was_decided_stays(tmp_path: Path) -> None:
    """The other branch has been done, whatever its condition would say now."""
    never = "              when: size(input.items) > 5\n              call: inventory/ReserveStock\n"
    view = await forced(tmp_path, [("              call: inventory/ReserveStock\n", never)])
    assert view.status is SagaStatus.COMPLETED
    assert statuses(view)["reserve_stock"] == "DONE"


AN_HOUR = [(PAUSE, PAUSE.replace("100ms", "40s"))]
"""As long as the deadline allows."""


async def begin_pause(folder: Path, transports: dict[str, Transport]) -> None:
    saga = deployed(folder, AN_HOUR)
    async with running_engine(folder, [saga], transports, grace_s=0.0) as engine:
        await engine.accept(order(50.0, saga=saga))
        await eventually_async("the pause", lambda: described(engine), is_pausing)


def is_pausing(view: SagaView) -> bool:
    return any(step.name == "pause" and step.until_ms for step in view.steps)


def is_completed(view: SagaView) -> bool:
    return view.status is SagaStatus.COMPLETED


async def go_on_later(
    folder: Path,
    transports: dict[str, Transport],
    saga: Saga,
    later_s: float,
    end: Callable[[SagaView], bool],
) -> SagaView:
    async with running_engine(folder, [saga], transports, clock=Later(later_s), grace_s=0.0) as engine:
        return await eventually_async("what comes of it", lambda: described(engine), end)


async def test_a_delay_that_has_begun_keeps_its_end(tmp_path: Path) -> None:
    """SD310: a longer one is for those that have not begun it."""
    longer = deployed(tmp_path, [(PAUSE, PAUSE.replace("100ms", "55s"))])
    async with running_services(MESH, tmp_path) as transports:
        await begin_pause(tmp_path, transports)
        await go_on_later(tmp_path, transports, longer, 45.0, is_completed)


def has_looked(view: SagaView) -> bool:
    return statuses(view)["look"] == "DONE"


async def test_a_branch_that_is_new_runs_late(tmp_path: Path) -> None:
    """SD118: what comes after the block has begun without it."""
    look = """          other:
            - name: look
              call: order/GetOrder
              request: { order_id: saga.id }
"""
    async with running_services(MESH, tmp_path) as transports:
        await begin_pause(tmp_path, transports)
        changed = deployed(tmp_path, [*AN_HOUR, (MONEY, MONEY + look)])
        forced = replace(changed, digest=deployed(tmp_path, AN_HOUR).digest)
        await go_on_later(tmp_path, transports, forced, 45.0, has_looked)
    query = "SELECT coalesce(step, next_step) FROM event WHERE kind IN ('PLANNED', 'DONE') ORDER BY seq"
    named = [name for (name,) in rows(tmp_path / "saga-log.db", query)]
    assert named.index("look") > named.index("pause")


EACH = "              for_each: { item: line, in: input.items, key: line.product_id }\n"
IN_LOOP = [
    ("              call: inventory/ReserveStock\n", f"{EACH}              call: inventory/ReserveStock\n")
]


@pytest.mark.parametrize(
    ("rule", "edit"),
    [
        (
            "SD122",
            (
                "in: input.items, key: line.product_id }\n",
                "in: 'input.items.filter(i, i.quantity > 5)', key: line.product_id }\n",
            ),
        ),
        ("SD123", ("key: line.product_id }\n", "key: line.product_id + '-'}\n")),
    ],
)
async def test_an_item_that_is_not_found_again_is_not_undone(
    rule: str, edit: tuple[str, str], tmp_path: Path
) -> None:
    edits = [*IN_LOOP, edit]
    assert rule in severities(list(compare_contracts(contract(IN_LOOP), contract(edits))))
    view = await forced(tmp_path, edits, price=600.0, of=IN_LOOP)
    assert view.status is SagaStatus.STUCK
    assert rows(tmp_path / "inventory.db", "SELECT sum(reserved) >= 2 FROM stock") == [(1,)]


async def test_items_that_are_found_again_are_undone(tmp_path: Path) -> None:
    view = await forced(tmp_path, IN_LOOP, price=600.0, of=IN_LOOP)
    assert view.status is SagaStatus.COMPENSATED
    assert rows(tmp_path / "inventory.db", "SELECT sum(reserved) FROM stock") == [(0,)]


async def test_a_gateways_list_names_all_branches_that_are_under_way(tmp_path: Path) -> None:
    saga = deployed(tmp_path)
    async with running_services(MESH, tmp_path) as transports:
        away = {**transports, "payment": Away(), "inventory": Away()}
        async with running_engine(tmp_path, [saga], away, grace_s=0.0) as engine:
            await engine.accept(order(50.0, saga=saga))
            operations = SagaOperations(engine)
            await eventually_async("both branches", lambda: listed(operations), is_in_both_branches)


async def listed(operations: SagaOperations) -> OpenSaga:
    (one,) = await operations.list(SagaQuery())
    return as_listed(one)


def is_in_both_branches(saga: OpenSaga) -> bool:
    return saga.is_whole and saga.at == ("reserve_stock", "charge_payment")


def test_a_list_of_an_older_gateway_names_one_step() -> None:
    listed = {"saga": "s", "version": 1, "status": "STUCK", "step": "a[b]", "age_s": 1.0}
    assert as_listed(listed) == OpenSaga("s", 1, None, ("a",), 1.0, is_whole=False)


def test_a_list_tells_of_a_saga_that_starts_later() -> None:
    listed = {
        "saga": "s",
        "version": 1,
        "status": "RUNNING",
        "step": START,
        "under_way": [START],
        "age_s": 1.0,
    }
    assert as_listed(listed) == OpenSaga("s", 1, False, (), 1.0, has_begun=False)
