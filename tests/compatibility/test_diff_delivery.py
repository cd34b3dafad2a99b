"""Changes of a contract that has every kind of element: which rule each breaks, and whether it needs a new version.

What is in the digest stops open sagas (SD004); the rest may be deployed under them.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
from contract_pair import ROOT, edited, resolved, severities

from sagagen.compatibility.change import Change
from sagagen.compatibility.compare import compare_contracts, in_order
from sagagen.contract import Mesh, Sources, load

B, W, S = "breaking", "warning", "safe"

OPEN_TICKET = """            - name: open_ticket
              call: restaurant/OpenTicket
              request: { order_id: saga.id }
              compensate: { call: restaurant/WithdrawTicket, request: { order_id: saga.id, reason: failure.reason } }
"""
ANSWER = """            - name: answer
              wait: answered
              within: 10m
              decline: { when: "!event.accepted", reason: RESTAURANT_SAID_NO }
              on_timeout: { decline: RESTAURANT_SILENT }
"""
RESTAURANT = f"          restaurant:\n{OPEN_TICKET}{ANSWER}"
ASSIGN = """            - name: assign_courier
              call: courier/AssignCourier
              request: { order_id: saga.id, address: input.address }
              compensate: { call: courier/UnassignCourier, request: { order_id: saga.id } }
"""
COURIER = f"          courier:\n{ASSIGN}"
PREPARE = f"      - name: prepare\n        parallel:\n{RESTAURANT}{COURIER}"
RESERVE = """      - name: reserve
        for_each: { item: dish, in: input.dishes, key: dish.dish_id, at_once: 5 }
        call: kitchen/ReserveIngredients
        request: { order_id: saga.id, dish_id: dish.dish_id, quantity: dish.quantity }
        compensate: { call: kitchen/ReleaseIngredients, request: { order_id: saga.id, dish_id: dish.dish_id } }
"""
REST = """      - name: rest
        when: has(input.pause)
        delay: { after: input.pause }
"""
PAUSE = """            - name: pause
              delay: { after: 1h }
"""
FRAUD = """      - name: check_fraud
        when: input.total_minor > 10000
        call: payment/CheckFraud
        request: { customer_id: caller, amount_minor: input.total_minor }
        compensate: none
"""
COUNTED = "amount_minor: size(steps.reserve)"
ON_TIMEOUT = "              on_timeout: { decline: RESTAURANT_SILENT }\n"
CANCEL = """    cancel:
      rpc: delivery.v1.OrderingService/CancelOrder
      saga_id: event.order_id
      allow: event.why != ''
      reason: CUSTOMER_CANCELLED
"""


def moved_out(text: str) -> str:
    """As it stands at top level, where two levels of YAML are less."""
    return "".join(line.removeprefix("      ") for line in text.splitlines(keepends=True))


Edits = Sequence[tuple[str, str]]

CASES: dict[str, tuple[Edits, dict[str, str]]] = {
    # What means nothing to an open saga, or only to what comes.
    "a deadline in another unit": ([("deadline: 2h", "deadline: 120m")], {}),
    "branches are reordered": ([(RESTAURANT + COURIER, COURIER + RESTAURANT)], {"SD120": S}),
    "a branch is renamed": ([("          courier:\n", "          rider:\n")], {"SD120": S}),
    "a loop's variable is renamed": (
        [
            ("item: dish, in: input.dishes, key: dish.dish_id", "item: each, in: input.dishes, key: each.dish_id"),
            ("dish_id: dish.dish_id, quantity: dish.quantity", "dish_id: each.dish_id, quantity: each.quantity"),
            ("order_id: saga.id, dish_id: dish.dish_id } }", "order_id: saga.id, dish_id: each.dish_id } }"),
        ],
        {},
    ),
    "a condition in other words": ([("input.total_minor > 10000", "(input.total_minor>10000)")], {}),
    "a wait has less time": ([("within: 10m", "within: 5m")], {"SD309": W}),
    "a wait has more time": ([("within: 10m", "within: 15m")], {"SD307": S}),
    "a wait has the deadline alone": ([("              within: 10m\n", "")], {"SD307": S}),
    "a fixed delay is longer": ([(PAUSE, PAUSE.replace("1h", "2h"))], {"SD310": W}),
    "a loop does fewer at once": ([("at_once: 5", "at_once: 2")], {"SD311": W}),
    "a loop takes fewer items": ([("at_once: 5", "at_once: 5, max_items: 20")], {"SD312": B}),
    "a loop takes more items": ([("at_once: 5", "at_once: 5, max_items: 200")], {"SD313": S}),
    "the latest start is sooner": ([("at_most: 14d", "at_most: 7d")], {"SD735": B}),
    "sagas start at once": ([("    start: { at: input.deliver_at, at_most: 14d }\n", "")], {"SD732": B}),
    "sagas start after a while": ([("{ at: input.deliver_at, at_most: 14d }", "{ after: 5m }")], {"SD733": B, "SD313": S}),
    "an index value is added": ([("index: {", "index: { to: input.address,")], {"SD741": S}),
    "an index value is removed": ([(", restaurant: input.restaurant_id", "")], {"SD742": W}),
    "an index value means something else": ([("customer: caller,", "customer: input.address,")], {"SD743": W}),
    "who may send an event": ([("allow: caller == input.restaurant_id", "allow: caller != ''")], {"SD708": B}),
    "an event finds its saga otherwise": (
        [("AnswerTicket\n        saga_id: event.order_id", "AnswerTicket\n        saga_id: event.order_id + '-1'")],
        {"SD707": B},
    ),
    "an event is answered otherwise": ([("        respond: { body: { order_id: saga.id } }\n", "")], {"SD508": B}),
    "cancel is removed": ([(CANCEL, "")], {"SD722": B, "SD501": B}),
    "cancel is for who started the saga": ([("      allow: event.why != ''\n", "")], {"SD708": B}),
    "cancel has another reason": ([("reason: CUSTOMER_CANCELLED", "reason: WITHDRAWN")], {"SD713": B}),
    # What stops open sagas.
    "a step goes into a branch": (
        [(PREPARE + RESERVE, PREPARE + "          kitchen:\n" + "".join(f"      {line}\n" for line in RESERVE.splitlines()))],
        {"SD004": B, "SD116": B},
    ),
    "a step goes out of its branch": (
        [(PREPARE, f"      - name: prepare\n        parallel:\n{RESTAURANT}" + moved_out(ASSIGN))],
        {"SD004": B, "SD116": B},
    ),
    "a branch is added": (
        [(PREPARE, PREPARE + "          other:\n            - { name: nap, delay: { after: 1m } }\n")],
        {"SD004": B, "SD118": B},
    ),
    "a branch is removed": (
        [(COURIER, ""), ("        courier_id: steps.assign_courier.courier_id\n", "")],
        {"SD004": B, "SD119": W, "SD101": B, "SD508": B},
    ),
    "a block is inserted": (
        [(REST, "      - name: both\n        parallel:\n          x: [{ name: nap, delay: { after: 1m } }]\n" + REST)],
        {"SD004": B, "SD105": B},
    ),
    "a block is renamed": ([("name: prepare", "name: get_ready")], {"SD004": B, "SD103": B}),
    "a wait is renamed": (
        [("name: rating\n", "name: stars\n"), ("has(steps.rating)", "has(steps.stars)"), ("steps.rating.stars", "steps.stars.stars")],
        {"SD004": B, "SD103": B, "SD121": B, "SD110": B},
    ),
    "steps of a branch are reordered": ([(OPEN_TICKET + ANSWER, ANSWER + OPEN_TICKET)], {"SD004": B, "SD104": B}),
    "a call becomes a delay": (
        [(ASSIGN, "            - { name: assign_courier, delay: { after: 1m } }\n"), ("        courier_id: steps.assign_courier.courier_id\n", "")],
        {"SD004": B, "SD117": B, "SD508": B},
    ),
    "a loop becomes a call": (
        [("        for_each: { item: dish, in: input.dishes, key: dish.dish_id, at_once: 5 }\n", ""),
         ("dish_id: dish.dish_id, quantity: dish.quantity }", "dish_id: input.address }"),
         ("order_id: saga.id, dish_id: dish.dish_id } }", "order_id: saga.id } }"), (COUNTED, "amount_minor: 1")],
        {"SD004": B, "SD117": B, "SD110": B},
    ),
    "a condition changes": ([("input.total_minor > 10000", "input.total_minor > 5000")], {"SD004": B, "SD121": B}),
    "a condition is removed": ([("        when: input.total_minor > 10000\n", "")], {"SD004": B, "SD121": B}),
    "a condition is added": (
        [("      - name: capture\n", "      - name: capture\n        when: input.total_minor > 0\n")],
        {"SD004": B, "SD121": B},
    ),
    "a loop over another list": (
        [("in: input.dishes,", "in: 'input.dishes.filter(d, d.quantity > 0)',")],
        {"SD004": B, "SD122": B},
    ),
    "a loop with another key": ([("key: dish.dish_id", "key: string(dish.quantity) + dish.dish_id")], {"SD004": B, "SD123": B}),
    "a loop without a key": ([(", key: dish.dish_id", "")], {"SD004": B, "SD123": B}),
    "a step is not given up any more": ([("              on_give_up: continue\n", "")], {"SD004": B, "SD125": W}),
    "a step is given up": (
        [("              request: { customer_id: caller, points: steps.rating.stars }\n",
          "              request: { customer_id: caller, points: steps.rating.stars }\n              on_give_up: continue\n")],
        {"SD004": B, "SD124": B},
    ),
    "a delay that the input said": ([("delay: { after: input.pause }", "delay: { after: 5m }")], {"SD004": B, "SD126": B}),
    "a delay until a time": ([("delay: { after: input.pause }", "delay: { at: input.deliver_at }")], {"SD004": B, "SD126": B}),
    "a time-out goes on": (
        [(ON_TIMEOUT, "              on_timeout: continue\n"), ("        minutes: steps.answer.minutes\n", "")],
        {"SD004": B, "SD712": B, "SD508": B},
    ),
    "the reason of a time-out": ([("decline: RESTAURANT_SILENT", "decline: NO_ANSWER")], {"SD004": B, "SD713": B}),
    "the reason of a decline": ([("reason: RESTAURANT_SAID_NO", "reason: TOO_BUSY")], {"SD004": B, "SD713": B}),
    "an event declines otherwise": ([("!event.accepted", "!event.accepted || event.minutes > 60")], {"SD004": B, "SD711": B}),
    "an event no longer declines": (
        [('              decline: { when: "!event.accepted", reason: RESTAURANT_SAID_NO }\n', "")],
        {"SD004": B, "SD711": B},
    ),
    "an event is renamed": (
        [("      answered:\n", "      replied:\n"), ("wait: answered", "wait: replied")],
        {"SD004": B, "SD703": B},
    ),
    "an event comes by another rpc": (
        [("TabletService/RateOrder", "TabletService/ReportPickup"), ("TabletService/ReportPickup, saga_id: event.order_id, allow: true", "TabletService/RateOrder, saga_id: event.order_id, allow: true"),
         ("steps.rating.stars", "1")],
        {"SD004": B, "SD704": B, "SD705": B, "SD110": B},
    ),
    "the answer guards what may not be there": (
        [("courier_id: steps.assign_courier.courier_id", "courier_id: 'has(input.pause) ? steps.assign_courier.courier_id : \"\"'")],
        {"SD004": B, "SD508": B},
    ),
}  # fmt: skip


@cache
def delivery() -> tuple[Sources, Mesh]:
    sources, found = load(ROOT / "tests" / "contract" / "delivery")
    assert not found
    return sources, resolved(sources)


def changed(edits: Edits) -> Mesh:
    sources, _ = delivery()
    text = sources.saga_yaml or ""
    for was, now in edits:
        text = edited(text, was, now)
    return resolved(replace(sources, saga_yaml=text))


def changes(edits: Edits) -> tuple[Change, ...]:
    return in_order(compare_contracts(delivery()[1], changed(edits)))


@pytest.mark.parametrize("name", CASES)
def test_a_change_has_its_rule_and_needs_a_version_if_open_sagas_stop(name: str) -> None:
    edits, expected = CASES[name]
    found = changes(edits)
    assert severities(found) == expected
    stops = delivery()[1].sagas[0].digest != changed(edits).sagas[0].digest
    assert stops is ("SD004" in expected)
