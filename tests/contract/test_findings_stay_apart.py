"""One mistake hides no other, and causes no other to be reported."""

from contract_bench import brief, edited, resolve_yaml, shop_yaml

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
