"""docs/saga-yaml.md: its examples are parts of a contract that is accepted, and its table is that of the shapes."""

import re
import textwrap

import pytest
from contract_bench import ROOT, delivery_yaml, shop_yaml

from sagagen.contract.element_shape import DelayShape, NamedShape, ParallelShape, StepShape, WaitShape

REFERENCE = (ROOT / "docs" / "saga-yaml.md").read_text("utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL)
SHAPES: dict[str, type[NamedShape]] = {
    "call": StepShape,
    "wait": WaitShape,
    "delay": DelayShape,
    "parallel": ParallelShape,
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("\n", 1)[0].strip("- "))
def test_an_example_stands_in_the_contract(example: str) -> None:
    first = example.split("\n", 1)[0]
    if first == "security:":
        return  # test_security.py resolves it
    if any(line.strip().startswith(example.strip()) for line in shop_yaml().splitlines()):
        return
    indents = [
        len(line) - len(line.lstrip())
        for line in delivery_yaml().splitlines()
        if line.strip() == first.strip()
    ]
    assert any(textwrap.indent(example, " " * indent) in delivery_yaml() for indent in indents), example


def test_the_table_says_which_keys_an_element_takes() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| (\w+) \|.*?\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", REFERENCE, re.MULTILINE
    )
    assert [row[0] for row in rows] == list(SHAPES)
    for element, when, for_each, compensate, timeout, gives_up in rows:
        keys = SHAPES[element].known_keys()
        assert ("when" in keys) is (when == "yes")
        assert ("for_each" in keys) is (for_each == "yes")
        assert ("compensate" in keys) is (compensate == "by kind")
        assert ("timeout" in keys and "retry" in keys) is (timeout == "yes")
        assert ("within" in keys and "on_timeout" in keys) is ("`within`" in timeout)
        assert ("on_give_up" in keys) is (gives_up == "retriable only")


def test_every_key_of_an_element_is_in_the_reference() -> None:
    keys = {key for shape in SHAPES.values() for key in shape.known_keys()}
    assert {key for key in keys if key not in REFERENCE} == set()
