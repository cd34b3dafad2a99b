"""docs/expressions.md: every example in it is compiled, and gives what the page says."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from expression_lab import Lab

from sagagen.contract.document import read_document
from sagagen.diagnostics import Diagnostic
from sagagen.expression import Environment
from sagagen.expression.functions import FUNCTIONS
from sagagen.expression.macros import ARGUMENTS
from sagagen.expression.quoting import in_yaml
from sagagen.expression.scalar import checked
from sagagen.expression.types import INT, Simple
from sagagen.expression.value import ValueExpr
from sagagen.runtime.rpc.errors import ExpressionError
from sagagen.runtime.scope import Scope
from sagagen.source import Mapping, Scalar

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "expressions.md").read_text(encoding="utf-8")


def rows(heading: str, second: str) -> list[tuple[str, str]]:
    """Expression and second cell of the table with these column heads, which only one section has."""
    table = (
        PAGE.split(f"## {heading}\n")[1].split(f"| Expression | {second} |\n|---|---|\n")[1].split("\n\n")[0]
    )
    found = [re.fullmatch(r"\| `(.+)` \| (.+) \|", row) for row in table.splitlines()]
    return [(match[1].replace("\\|", "|"), match[2].strip("`")) for match in found if match]


GIVES = rows("Operators and functions", "is")
FAILS = rows("What can fail", "fails")
(REQUEST,) = re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Lab:
    order = lab.descriptor("Order")
    fraud = lab.descriptor("Fraud")
    environment = Environment(
        types=lab.environment.types,
        package="shop.v1",
        input=order,
        steps={"check_fraud": fraud},
        unreadable={},
        failure=False,
        total=False,
        guarded={"check_fraud": "it is skipped unless its `when` holds"},
    )
    return replace(lab, environment=environment)


def compiled(shop: Lab, text: str) -> ValueExpr:
    """Any value, whatever the place that takes it."""
    found: list[Diagnostic] = []
    document = read_document("saga.yaml", f"value: {in_yaml(text)}", found.append)
    node = document.get("value") if document else None
    assert isinstance(node, Scalar)
    root = checked(node, None, shop.environment, found.append)
    assert root is not None, found
    return ValueExpr(root)


def computed(shop: Lab, text: str) -> Any:
    request = json.loads(REQUEST)
    order, dish = shop.python_class("Order"), shop.python_class("Dish")
    request["dishes"] = [dish(**each) for each in request["dishes"]]
    size = shop.input.fields_by_name["size"].enum_type
    assert size is not None
    request["size"] = size.values_by_name[request["size"]].number
    given = order(**request)
    scope = Scope("saga-1", order, bytes(given), {})
    return shop.function(compiled(shop, text))(scope)


@pytest.mark.parametrize(("text", "value"), GIVES, ids=[text for text, _ in GIVES])
def test_an_example_gives_what_the_page_says(shop: Lab, text: str, value: str) -> None:
    found = computed(shop, text)
    assert json.loads(value) == found
    assert type(json.loads(value)) is type(found)


@pytest.mark.parametrize(("text", "why"), FAILS, ids=[text for text, _ in FAILS])
def test_what_can_fail_fails(shop: Lab, text: str, why: str) -> None:
    assert why
    with pytest.raises(ExpressionError):
        computed(shop, text)


def test_every_function_and_macro_is_shown() -> None:
    shown = " ".join(text for text, _ in GIVES)
    missing = [name for name in (*sorted(FUNCTIONS), *ARGUMENTS, "has") if f"{name}(" not in shown]
    assert missing == ["bytes"], "bytes(...) has no JSON to show"


def test_the_guards_on_the_page_are_guards(shop: Lab) -> None:
    (block,) = re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)
    found: list[Diagnostic] = []
    document = read_document("saga.yaml", block, found.append)
    assert document is not None
    assert found == []
    request, condition = document.get("request"), document.get("when")
    assert isinstance(request, Mapping)
    assert isinstance(condition, Scalar)
    assert compiled(shop, condition.text).root.type is Simple.BOOL
    amount = request.get("amount_minor")
    assert isinstance(amount, Scalar)
    assert compiled(shop, amount.text).root.type == INT


def test_the_codes_and_decisions_it_names_exist() -> None:
    for link in re.findall(r"\]\((decisions/[^)]+)\)", PAGE):
        assert (DOCS / link).exists(), link
    diagnostics = (DOCS / "diagnostics.md").read_text(encoding="utf-8")
    for code in set(re.findall(r"SG\d{3}", PAGE)):
        assert f"### {code}" in diagnostics
