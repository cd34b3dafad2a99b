"""One mistake hides no other, and causes no other to be reported."""

import pytest
from contract_bench import Mistake, brief, edited, place, resolve_yaml, shop_yaml
from test_mistakes_everywhere import MISTAKES as EVERYWHERE
from test_saga_yaml_mistakes import MISTAKES

SECOND = """  restock:
    trigger: shop.checkout.v1.CheckoutService/PlaceOrder
    steps:
      - { name: one, call: inventory/ReleaseStok, compensate: none }
"""


def codes(text: str) -> list[str]:
    return [code for _, code in brief(resolve_yaml(text)[1])]


def test_mistakes_in_one_saga_do_not_hide_those_of_another() -> None:
    text = (
        edited(shop_yaml(), (("deadline: 60s", "deadline: sixty"), ("amount_minor:", "amount_minr:")))
        + SECOND
    )
    assert codes(text) == ["SG016", "SG102", "SG032", "SG065"]


UNKNOWABLE = {"services in a list"}
"""Without services nobody can say which rpcs they have."""


@pytest.mark.parametrize("mistake", [one for one in (*MISTAKES, *EVERYWHERE) if one.code != "SG010"], ids=str)
def test_whatever_is_wrong_in_one_saga_the_other_is_still_checked(mistake: Mistake) -> None:
    """Text that is not YAML apart: nothing after it can be trusted."""
    text = edited(shop_yaml(), mistake.edits).rstrip() + "\n" + SECOND
    found = brief(resolve_yaml(text)[1])
    assert (place(text), mistake.code) in found
    line = (
        text.replace("«", "")
        .splitlines()
        .index("      - { name: one, call: inventory/ReleaseStok, compensate: none }")
        + 1
    )
    assert [code for at, code in found if at.line == line] == (
        [] if mistake.name in UNKNOWABLE else ["SG065"]
    )
    assert {code for _, code in found} <= {mistake.code, "SG065", "SG032"}


def test_several_mistakes_in_one_step_are_all_reported() -> None:
    text = edited(
        shop_yaml(),
        (
            (
                "call: inventory/ReserveStock",
                "call: inventory/ReserveStock\n        colour: red\n        timeout: 5",
            ),
            ("call: inventory/ReleaseStock", "call: inventory/ReleaseStok"),
        ),
    )
    assert codes(text) == ["SG012", "SG016", "SG065"]


def test_a_step_that_cannot_be_read_is_not_missed_by_those_that_read_it() -> None:
    text = edited(shop_yaml(), (("        call: order/CreateOrder\n", ""),))
    assert codes(text) == ["SG013"]


def test_a_step_without_a_usable_name_is_not_missed_either() -> None:
    assert codes(edited(shop_yaml(), (("name: create_order", "name: Create"),))) == ["SG017"]


def test_a_step_with_an_unknown_rpc_is_not_missed_by_those_that_read_it() -> None:
    assert codes(edited(shop_yaml(), (("call: order/CreateOrder", "call: order/CreateOrdr"),))) == ["SG065"]


def test_a_service_that_cannot_be_read_is_not_missed_by_its_steps() -> None:
    assert codes(edited(shop_yaml(), (("{ implements: [shop.order.v1.OrderService] }", "5"),))) == ["SG014"]


def test_a_missing_list_of_services_is_one_mistake() -> None:
    text = shop_yaml()
    start, end = text.index("services:"), text.index("defaults:")
    assert codes(text[:start] + text[end:]) == ["SG013"]


def test_a_misspelt_kind_does_not_disturb_the_order_of_the_steps() -> None:
    assert codes(edited(shop_yaml(), (("kind: pivot", "kind: final"),))) == ["SG015"]


def test_a_broken_compensation_is_not_a_missing_one() -> None:
    text = edited(
        shop_yaml(), (("{ call: inventory/ReleaseStock, request: { order_id: saga.id } }", "nothing"),)
    )
    assert codes(text) == ["SG015"]


def test_an_unknown_trigger_is_one_mistake() -> None:
    assert codes(edited(shop_yaml(), (("CheckoutService/PlaceOrder", "CheckoutService/Place"),))) == ["SG030"]


def test_everything_wrong_at_once_is_reported_at_once() -> None:
    text = "version: v3\nproject: Shop\nservices: []\nsagas: { a: 5, b: { steps: [7] }, C: {}, d: [] }\n"
    assert codes(text) == [
        "SG015",
        "SG017",
        "SG014",
        "SG014",
        "SG013",
        "SG014",
        "SG013",
        "SG013",
        "SG017",
        "SG014",
    ]
