"""A field that is new, and read: by whatever an element or event evaluates, directly, by number, or as an item."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from contract_pair import resolved, severities, shop, write_project
from google.protobuf.descriptor import Descriptor
from test_diff_elements import block, call, cancel, event, look, saga, wait
from test_diff_rules import CHECKOUT, INVENTORY

from sagagen.compatibility.compare import compare_contracts, in_order
from sagagen.contract import Mesh, load
from sagagen.contract.model import Decline, ForEach, Saga
from sagagen.diagnostics import Diagnostic, Report
from sagagen.expression import Environment, TypeIndex
from sagagen.expression.types import MessageType, Type
from sagagen.expression.value import ValueExpr, compile_condition, compile_list, compile_text
from sagagen.source import Scalar, Span

NEW_FIELDS = [
    (CHECKOUT, "message PlaceOrderRequest {\n", "message PlaceOrderRequest {\n  string town = 9;\n"),
    (CHECKOUT, "message CartItem {\n", "message CartItem {\n  string colour = 9;\n"),
    (
        INVENTORY,
        "message GetStockRequest {\n",
        "message GetStockRequest {\n  bool is_sure = 9;\n  string order = 8;\n",
    ),
    (INVENTORY, "message ReserveStockResponse {}", "message ReserveStockResponse { string shelf = 9; }"),
]
ExprT = TypeVar("ExprT", bound=ValueExpr)
AT = Span("contracts/saga.yaml", 1, 1)


@cache
def newer() -> Mesh:
    """The shop with new fields, which nothing reads yet."""
    with TemporaryDirectory() as folder:
        write_project(Path(folder), NEW_FIELDS)
        return resolved(load(Path(folder))[0])


def message(name: str) -> Descriptor:
    messages = [file.message_types_by_name for file in newer().files]
    return next(found[name] for found in messages if name in found)


def environment(item: Type | None = None) -> Environment:
    response = message("ReserveStockResponse")
    return Environment(
        types=TypeIndex(newer().files),
        package="",
        input=message("PlaceOrderRequest"),
        steps={"a": response},
        unreadable={},
        failure=False,
        total=False,
        event=message("GetStockRequest"),
        item=("each", item) if item else None,
    )


def text(expression: str, item: Type | None = None) -> ValueExpr:
    return compiled(compile_text, expression, item)


def compiled(
    by: Callable[[Scalar, Environment, Report], ExprT | None], expression: str, item: Type | None = None
) -> ExprT:
    found: list[Diagnostic] = []
    value = by(Scalar(AT, expression, "str", True, lambda _: AT), environment(item), found.append)
    assert value is not None, found
    return value


def item() -> MessageType:
    return MessageType("shop.checkout.v1.CartItem", message("CartItem"))


def loop_over(items: str, key: str) -> ForEach:
    over = compiled(compile_list, items)
    return ForEach("each", over, text(key, over.element), at_once=10, max_items=100)


A = call("a")
B, OUTPUT, INPUT, EVENT = "breaking", "SD010", "SD009", "SD709"

READING: dict[str, tuple[Callable[[], Saga], str, str]] = {
    "a condition": (
        lambda: saga(look("b", when=compiled(compile_condition, "input.town == 'X'"))),
        INPUT,
        "b",
    ),
    "a condition of a block": (
        lambda: saga(replace(block("p", x=[A]), when=compiled(compile_condition, "input.town == 'X'"))),
        INPUT,
        "p",
    ),
    "a response": (
        lambda: saga(A, look("b", when=compiled(compile_condition, "steps.a.shelf == 'X'"))),
        OUTPUT,
        "b",
    ),
    "a field of an item by its number": (
        lambda: saga(look("b", when=compiled(compile_condition, "input.items[0].colour == 'X'"))),
        INPUT,
        "b",
    ),
    "the key of a loop": (
        lambda: saga(look("b", for_each=loop_over("input.items", "each.colour"))),
        INPUT,
        "b",
    ),
    "the condition of an item": (
        lambda: saga(
            look(
                "b",
                for_each=loop_over("input.items.filter(i, i.quantity > 1)", "each.product_id"),
                when=compiled(compile_condition, "each.colour == 'X'", item()),
            )
        ),
        INPUT,
        "b",
    ),
    "a decline": (
        lambda: saga(wait("w", decline=Decline(compiled(compile_condition, "!event.is_sure"), "NO"))),
        EVENT,
        "w",
    ),
    "an event's saga_id": (lambda: saga(A, events=(event("e", saga_id=text("event.order")),)), EVENT, "e"),
    "an event's allow": (
        lambda: saga(A, events=(event("e", allow=compiled(compile_condition, "input.town == caller")),)),
        INPUT,
        "e",
    ),
    "a cancel's saga_id": (lambda: saga(A, cancel=cancel(saga_id=text("event.order"))), EVENT, "cancel"),
}


@pytest.mark.parametrize("name", READING)
def test_a_new_field_that_is_read_is_told(name: str) -> None:
    make, code, of = READING[name]
    new = make()
    old = replace(shop()[1], sagas=(new,))
    found = in_order(compare_contracts(old, replace(newer(), sagas=(new,))))
    assert {change.rule.code: change.subject for change in found} == {code: f"place_order/{of}"}
    assert severities(found) == {code: B}
