"""What a saga starts with: the contract's examples, or files of tests/samples, each checked by the contract."""

import json
from pathlib import Path
from typing import Any

import pytest

from generated.mesh import MESH
from sagagen.runtime.messages.schema import Schema
from sagagen.testing.guesses import constants_of, variations
from sagagen.testing.samples import SAMPLES, SampleError, check_names, samples_of

SCHEMA = Schema(MESH.descriptors.read_bytes())
(SAGA,) = MESH.sagas
ITEM = {"product_id": "prod_2", "quantity": 3, "price": 1.5}


def write(root: Path, content: Any, name: str = "place_order.json") -> None:
    path = root / SAMPLES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_without_a_file_the_contract_s_examples_are_the_sample(tmp_path: Path) -> None:
    (sample,) = samples_of(tmp_path, SCHEMA, SAGA)
    assert sample.source == "the contract's examples"
    assert sample.input["customer_id"] == "cust_123"
    assert SAGA.trigger.request.parse(sample.data).customer_id == "cust_123"


def test_a_file_is_the_sample_and_others_come_after_it(tmp_path: Path) -> None:
    write(tmp_path, {"input": {"customer_id": "c", "items": [ITEM]}, "caller": "ann"})
    write(
        tmp_path,
        {"input": {"customer_id": "large", "items": [ITEM, {**ITEM, "product_id": "prod_3"}]}},
        "place_order.large.json",
    )
    first, large = samples_of(tmp_path, SCHEMA, SAGA)
    assert (first.name, first.caller, first.source) == ("", "ann", "tests/samples/place_order.json")
    assert (large.name, large.caller) == ("large", "anonymous")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", r"tests/samples/place_order.json:1:2: no JSON"),
        ([], r"place_order.json: a sample is an object, not \[\]"),
        ({"inputs": {}}, r'place_order.json: "inputs" is unknown; did you mean "input"\?'),
        ({"caller": "ann"}, r'"input" is missing: the ProtoJSON of shop.checkout.v1.PlaceOrderRequest'),
        (
            {"input": {"customer": "c"}},
            r'place_order.json: no shop.checkout.v1.PlaceOrderRequest: .*"customer"',
        ),
        (
            {"input": {"customer_id": "c", "items": [{**ITEM, "quantity": 0}]}},
            r"place_order.json: the contract refuses shop.checkout.v1.PlaceOrderRequest: items\[0\].quantity: .*\(int",
        ),
        ({"input": {"customer_id": "c", "items": [ITEM]}, "caller": 7}, r"caller is a text, not 7"),
        (
            {"input": {"customer_id": "c", "items": [ITEM]}, "events": {"paid": {}}},
            r'place_order.json: "events.paid" is unknown',
        ),
    ],
)
def test_what_can_t_be_a_sample_is_named(content: Any, says: str, tmp_path: Path) -> None:
    write(tmp_path, content)
    with pytest.raises(SampleError, match=says):
        samples_of(tmp_path, SCHEMA, SAGA)


def test_a_file_of_no_saga_is_named(tmp_path: Path) -> None:
    write(tmp_path, {}, "place_ordr.json")
    with pytest.raises(
        SampleError, match=r'place_ordr.json: there is no saga place_ordr; did you mean "place_order"\?'
    ):
        check_names(tmp_path, MESH.sagas)


def test_values_that_an_expression_compares_with_are_tried_first() -> None:
    def is_large(scope: Any) -> bool:
        return scope.input.items > 10_000 or scope.caller.startswith("courier-")

    assert {10_000, "courier-"} <= {*constants_of(is_large)}
    tried = [
        *variations(
            SCHEMA, "shop.checkout.v1.PlaceOrderRequest", {"customer_id": "c"}, constants_of(is_large)
        )
    ]
    assert tried[0] == {"customer_id": "c"}
    assert {"customer_id": "courier-"} in tried
