"""The JSON schema of saga.yaml: takes every contract of this repository, refuses what is wrong, explains every key."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import test_security
from contract_bench import ROOT, Mistake, delivery_yaml, edited, shop_yaml
from jsonschema import Draft202012Validator, ValidationError
from project_copy import accepted_contracts
from test_element_mistakes import SHAPES, Case
from test_saga_yaml_mistakes import NAMES, RULES, SHAPE

from sagagen.contract import saga_schema
from sagagen.contract.document import read_document
from sagagen.contract.outlining import DEADLINE_S
from sagagen.contract.policies import BUILT_IN_COMPENSATION, BUILT_IN_STEP
from sagagen.contract.sagas import CANCELLED, RETENTION_S, STATUS, WAIT_S
from sagagen.contract.words import DURATION_PART, UNIT_S
from sagagen.runtime.model.definition import BARRIER_RETENTION_S, LATEST_START_S, ForEach, Limits
from sagagen.source import Mapping, Node, Scalar

SCHEMA = saga_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
GOOD = accepted_contracts()


def plain(node: Node) -> Any:
    """As an editor reads it: YAML 1.2's core schema."""
    if isinstance(node, Mapping):
        return {entry.key.text: plain(entry.value) for entry in node}
    if isinstance(node, Scalar):
        return _scalar(node)
    return [plain(item) for item in node.items]


def _scalar(node: Scalar) -> Any:
    match node.tag:
        case "null":
            return None
        case "bool":
            return node.text == "true"
        case "int":
            return int(node.text)
        case "float":
            return float(node.text)
        case _:
            return node.text


def problems(text: str) -> list[str]:
    document = read_document("saga.yaml", text, lambda _: None)
    assert document is not None
    errors: Iterator[ValidationError] = VALIDATOR.iter_errors(plain(document))  # pyright: ignore[reportUnknownMemberType] - an instance may be anything
    return [error.message for error in errors]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_contract_here_fits(path: Path) -> None:
    assert problems(path.read_text("utf-8")) == []


def test_there_are_contracts_to_try_it_on() -> None:
    assert len(GOOD) >= 6


LANGUAGE = {"SG012", "SG013", "SG014", "SG015", "SG016", "SG017", "SG019"}
"""What is wrong with a key, a word or a shape, an editor can say without knowing the protos."""
MISTAKES = [mistake for mistake in (*SHAPE, *NAMES, *RULES) if mistake.code in LANGUAGE]
BAD = [
    ("no steps", ("    steps:\n", "    steps: []\n    steps_:\n")),
    ("a service that implements nothing", ("[shop.payment.v1.PaymentService]", "[]")),
    ("a call without a service", ("call: order/CreateOrder", "call: CreateOrder")),
    ("a call of a proto service", ("call: order/CreateOrder", "call: shop.order.v1.OrderService/CreateOrder")),
    ("a trigger without a method", ("CheckoutService/PlaceOrder", "CheckoutService")),
    ("a compensated pivot", ("kind: pivot\n", "kind: pivot\n        compensate: { call: order/CancelOrder }\n")),
    ("a service in capitals", ("  payment: {", "  Payment: {")),
    ("a saga with a dash", ("  place_order:", "  place-order:")),
    ("a duration of two numbers", ("deadline: 60s", "deadline: 60 s")),
    ("a request that is a list", ("request: { order_id: saga.id, reason: failure.reason }", "request: []")),
    ("a waiver without a reason", ("project: shop", "project: shop\nwaivers: [{ rule: SD506, until: 2026-12-31 }]")),
    ("a waiver until some time", ("project: shop", "project: shop\nwaivers: [{ rule: a, reason: b, until: later }]")),
    ("a multiplier below one", ("initial: 50ms, multiplier: 2", "initial: 50ms, multiplier: 0")),
    ("too many attempts", ("initial: 50ms", "max_attempts: 5000, initial: 50ms")),
    ("a read that is a word", ("PaymentService] }", "PaymentService], methods: { ChargePayment: { read: 'yes' } } }")),
    ("a null", ("deadline: 60s", "deadline:")),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_what_the_checks_say_of_the_language_the_editor_says_too(mistake: Mistake) -> None:
    assert problems(edited(shop_yaml(), mistake.edits).replace("«", ""))


OF_SECURITY = [mistake for mistake in test_security.MISTAKES if mistake.code in LANGUAGE | {"SG308", "SG313"}]


@pytest.mark.parametrize("mistake", OF_SECURITY, ids=str)
def test_it_knows_what_the_security_section_takes(mistake: Mistake) -> None:
    text = test_security.UNSAID + test_security.SECTION
    assert problems(text) == []
    assert problems(edited(text, mistake.edits).replace("«", ""))


UNSEEN = {"a wait of no time", "a delay in weeks"}
"""0s is a duration to a pattern, and whatever is no duration may be an expression."""
OF_ELEMENTS = [
    case for case in SHAPES if case[3] in LANGUAGE | {"SG200", "SG201", "SG202"} and case[0] not in UNSEEN
]


@pytest.mark.parametrize("case", OF_ELEMENTS, ids=[case[0] for case in OF_ELEMENTS])
def test_it_knows_which_keys_an_element_takes(case: Case) -> None:
    edits = tuple(zip(case[1].split("‖"), case[2].split("‖"), strict=True))
    assert problems(edited(delivery_yaml(), edits).replace("«", ""))


@pytest.mark.parametrize("edit", [case[1] for case in BAD], ids=[case[0] for case in BAD])
def test_what_cannot_be_right_is_refused(edit: tuple[str, str]) -> None:
    old, new = edit
    assert shop_yaml().count(old) >= 1
    assert problems(shop_yaml().replace(old, new, 1))


def test_a_request_can_be_one_expression() -> None:
    text = edited(
        shop_yaml(),
        (("        kind: pivot\n        request: { order_id: saga.id }", "        request: input.order"),),
    )
    assert problems(text) == []


def properties() -> Iterator[tuple[str, Any]]:
    for name, definition in [("saga.yaml", SCHEMA), *SCHEMA["$defs"].items()]:
        for key, schema in definition["properties"].items():
            yield f"{name}.{key}", schema


def resolved(schema: Any) -> Any:
    reference = schema.get("$ref")
    return {**SCHEMA["$defs"][reference.removeprefix("#/$defs/")], **schema} if reference else schema


def test_every_key_is_explained() -> None:
    assert [name for name, schema in properties() if not resolved(schema).get("description")] == []


def test_every_value_is_narrowed_or_shown_by_an_example() -> None:
    telling = (
        "enum",
        "pattern",
        "minimum",
        "examples",
        "default",
        "properties",
        "patternProperties",
        "items",
    )
    vague = [name for name, schema in properties() if not any(word in resolved(schema) for word in telling)]
    assert vague == ["WaiverShape.reason"]


def test_examples_and_defaults_fit_their_own_key() -> None:
    for name, schema in properties():
        inner = Draft202012Validator({**schema, "$defs": SCHEMA["$defs"]})
        for value in (*schema.get("examples", ()), *([schema["default"]] if "default" in schema else ())):
            assert inner.is_valid(value), f"{name}: {value}"  # pyright: ignore[reportUnknownMemberType] - as above


def default(shape: str, key: str) -> Any:
    value = SCHEMA["$defs"][f"{shape}Shape"]["properties"][key]["default"]
    parts = DURATION_PART.findall(value) if isinstance(value, str) else []
    return sum(float(number) * UNIT_S[unit] for number, unit in parts) if parts else value


def test_defaults_are_what_holds() -> None:
    limits = asdict(Limits())
    assert {key: default("Limits", key) for key in limits} == limits
    assert default("Saga", "deadline") == DEADLINE_S
    assert default("Idempotency", "retention") == RETENTION_S
    assert default("Service", "retention") == BARRIER_RETENTION_S
    assert default("Start", "at_most") == LATEST_START_S
    assert default("Cancel", "reason") == CANCELLED
    loop = ForEach(lambda _: ())
    assert (default("ForEach", "at_once"), default("ForEach", "max_items")) == (loop.at_once, loop.max_items)
    assert (default("Respond", "wait"), default("Respond", "status")) == (WAIT_S, STATUS)
    assert (
        default("Retry", "multiplier")
        == BUILT_IN_STEP.retry.multiplier
        == BUILT_IN_COMPENSATION.retry.multiplier
    )
