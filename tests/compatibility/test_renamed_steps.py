"""When a step counts as renamed: it does the same at the same place, its old name is gone and its new one is new."""

from dataclasses import replace

from contract_pair import edited, resolved, severities, shop

from sagagen.compatibility.compare import compare_contracts
from sagagen.contract import Mesh

PIVOT = "      - name: confirm_order\n"


def look(name: str) -> str:
    return f"      - name: {name}\n        call: order/GetOrder\n        request: {{ order_id: saga.id }}\n"


def give_back(name: str) -> str:
    return (
        f"      - name: {name}\n        call: inventory/ReleaseStock\n"
        "        request: { order_id: saga.id }\n        compensate: none\n"
    )


def shop_with(*steps: str) -> Mesh:
    """The shop, with these steps before its pivot."""
    sources, _ = shop()
    return resolved(
        replace(sources, saga_yaml=edited(sources.saga_yaml or "", PIVOT, "".join(steps) + PIVOT))
    )


def found(old: Mesh, new: Mesh) -> dict[str, str]:
    return {
        code: severity
        for code, severity in severities(list(compare_contracts(old, new))).items()
        if code != "SD004"
    }


def test_a_step_that_does_the_same_at_the_same_place_is_renamed() -> None:
    assert found(shop_with(look("look")), shop_with(look("see"))) == {"SD103": "breaking"}


def test_another_step_of_the_same_rpc_before_it_is_inserted_and_renames_nothing() -> None:
    old, new = shop_with(look("look")), shop_with(look("see"), look("look"))
    assert found(old, new) == {"SD105": "breaking"}


def test_a_step_whose_place_another_of_the_same_rpc_takes_is_removed_and_not_renamed() -> None:
    old, new = shop_with(look("look"), look("see")), shop_with(look("see"))
    assert found(old, new) == {"SD102": "warning"}


def test_a_step_that_calls_another_rpc_is_another_step() -> None:
    assert found(shop_with(look("look")), shop_with(give_back("see"))) == {
        "SD102": "warning",
        "SD105": "breaking",
    }
