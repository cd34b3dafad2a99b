"""Which steps an expression may read follows from where it stands."""

from collections.abc import Iterator

import pytest
from contract_bench import delivery_yaml, edited, resolve_delivery
from hypothesis import given
from hypothesis import strategies as st

from sagagen.contract.readability import Order, Path, order

Tree = list["Tree | None"]
"""A list of steps: None is a step, a list is a block of branches, each of which is a list of steps."""

trees: st.SearchStrategy[Tree] = st.recursive(
    st.lists(st.none(), min_size=1, max_size=3),
    lambda inner: st.lists(st.none() | st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=4),
    max_leaves=12,
)


def starts(elements: Tree, above: Path, done: frozenset[Path]) -> Iterator[tuple[Path, frozenset[Path]]]:
    """Each element, and what must have ended when it begins: by following the saga, not by comparing places."""
    for index, element in enumerate(elements):
        path = (*above, index)
        yield path, done
        inner = [branch(element, number) for number in range(len(element or []))]
        begun = [start for number, each in enumerate(inner) for start in starts(each, (*path, number), done)]
        yield from begun
        done |= {path, *(each for each, _ in begun)}


def branch(block: "Tree | None", number: int) -> Tree:
    found = block[number] if block else None
    return found if found is not None else [None]


@given(trees)
def test_what_comes_before_is_what_has_ended(tree: Tree) -> None:
    begun = dict(starts(tree, (), frozenset()))
    for place, done in begun.items():
        before = {path for path in begun if order(path, place) is Order.BEFORE}
        assert before == done
        assert order(place, place) is Order.OWN


@given(trees)
def test_steps_beside_each_other_are_in_no_order(tree: Tree) -> None:
    begun = dict(starts(tree, (), frozenset()))
    for place in begun:
        beside = {path for path in begun if order(path, place) is Order.BESIDE}
        assert all(order(place, path) is Order.BESIDE for path in beside)
        assert not beside & begun[place]
        assert not any(place in begun[path] for path in beside)


COURIER = "request: { order_id: saga.id, address: input.address }"
UNASSIGN = "compensate: { call: courier/UnassignCourier, request: { order_id: saga.id } }"
RELEASE = "compensate: { call: kitchen/ReleaseIngredients"
MINUTES, ASSIGNED = "minutes: steps.answer.minutes", "courier_id: steps.assign_courier.courier_id"
POINTS = "customer_id: caller, points: steps.rating.stars"
RESPOND = delivery_yaml()[delivery_yaml().index("    start:") : delivery_yaml().index("    events:")]
ANSWER = "    respond: {{ after: {}, body: {{ order_id: {} }} }}\n"
Edits = dict[str, str]

FINE: dict[str, Edits] = {
    "what is before the block": {COURIER: COURIER.replace("input.address", "steps.authorise.authorisation_id")},
    "all branches, behind the block": {POINTS: "customer_id: steps.assign_courier.courier_id, points: steps.answer.minutes"},
    "a step of the same branch": {"within: 10m": "when: steps.open_ticket.ticket_id != ''\n              within: 10m", MINUTES: "minutes: 5"},
    "a step of the same skipped block": {
        "- name: prepare\n": "- name: prepare\n        when: input.total_minor > 0\n",
        ASSIGNED: "courier_id: saga.id",
        MINUTES: "minutes: 5",
        'when: "!event.accepted"': "when: event.minutes > 5",
        "within: 10m": "when: steps.open_ticket.ticket_id != ''\n              within: 10m",
    },
    "what the condition of its block asks for": {
        "- name: prepare\n": "- name: prepare\n        when: has(steps.check_fraud)\n",
        ASSIGNED: "courier_id: saga.id",
        MINUTES: "minutes: 5",
        COURIER: "request: { order_id: string(steps.check_fraud.score) }",
    },
    "what its condition asks for, when it is undone": {
        COURIER: f"when: has(steps.check_fraud)\n              {COURIER}",
        UNASSIGN: UNASSIGN.replace("saga.id", "string(steps.check_fraud.score)"),
        ASSIGNED: "courier_id: saga.id",
    },
    "an item, in the condition of its loop": {
        RELEASE: f"when: dish.quantity > 0\n        {RELEASE}",
        ", amount_minor: size(steps.reserve)": "",
    },
    "the answer in a branch, what is before it there": {RESPOND: ANSWER.format("answer", "steps.open_ticket.ticket_id")},
    "the answer in a branch, what is before the block": {RESPOND: ANSWER.format("answer", "steps.authorise.authorisation_id")},
    "the answer behind a block, all that is in it": {RESPOND: ANSWER.format("prepare", "steps.assign_courier.courier_id")},
    "the answer behind a loop": {RESPOND: ANSWER.format("reserve", "string(size(steps.reserve))")},
}  # fmt: skip
WRONG: dict[str, tuple[Edits, str, str]] = {
    "the answer in a branch, another branch": ({RESPOND: ANSWER.format("answer", "steps.assign_courier.courier_id")}, "SG104", "it is in another branch"),
    "the answer behind a block, what follows": ({RESPOND: ANSWER.format("prepare", "string(size(steps.reserve))")}, "SG104", "it runs after the answer"),
    "another branch, when it is undone": ({UNASSIGN: UNASSIGN.replace("saga.id", "steps.open_ticket.ticket_id")}, "SG104", "it is in another branch"),
    "its own response, when it is undone": ({UNASSIGN: UNASSIGN.replace("saga.id", "steps.assign_courier.courier_id")}, "SG104", "its response may be unknown"),
    "what the wrong side of a condition asks for": ({COURIER: "when: has(steps.check_fraud) || input.total_minor > 5\n              request: { order_id: string(steps.check_fraud.score) }", ASSIGNED: "courier_id: saga.id"}, "SG127", "has(steps.check_fraud)"),
    "a pivot's response in a compensation": ({UNASSIGN: UNASSIGN.replace("saga.id", "steps.picked_up.order_id")}, "SG104", "it may not have run"),
}  # fmt: skip


@pytest.mark.parametrize("edits", FINE.values(), ids=FINE)
def test_what_is_there_for_certain_can_be_read(edits: Edits) -> None:
    mesh, found = resolve_delivery(edited(delivery_yaml(), tuple(edits.items())))
    assert found == ()
    assert mesh is not None


@pytest.mark.parametrize(("edits", "code", "said"), WRONG.values(), ids=WRONG)
def test_what_may_not_be_there_cannot(edits: Edits, code: str, said: str) -> None:
    mesh, found = resolve_delivery(edited(delivery_yaml(), tuple(edits.items())))
    assert [str(each.code) for each in found] == [code]
    assert said in found[0].message + found[0].hint
    assert mesh is None
