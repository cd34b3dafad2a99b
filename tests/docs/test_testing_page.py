"""docs/testing.md: its examples run, on the shop; those of the delivery template are tests of that template."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from stack import REPOSITORY

from sagagen.testing import virtual_time
from sagagen.testing.planning import FaultPlanning
from sagagen.testing.saga_test import SagaTest

PAGE = (REPOSITORY / "docs/testing.md").read_text(encoding="utf-8")
DELIVERY = REPOSITORY / "codegen/sagagen/scaffold/templates/delivery/tests/test_dinners.py"
DELIVERY_TEST = 'python title="tests/test_dinners.py of the delivery template"'


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{re.escape(kind)}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def examples() -> dict[str, Callable[..., Any]]:
    """The tests of the page, by name: its blocks follow each other as the parts of one file."""
    names: dict[str, Any] = {}
    exec(compile("\n".join(blocks("python")), "docs/testing.md", "exec"), names)
    return {name: each for name, each in names.items() if name.startswith("test_")}


EXAMPLES = examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_passes(name: str) -> None:
    example = EXAMPLES[name]
    marks = getattr(example, "pytestmark", [])
    for values in [list(mark.args[1]) for mark in marks] or [[]]:
        for value in values or [None]:
            run = virtual_time(example)
            if inspect.signature(example).parameters:
                run(value)
            else:
                run()


def test_the_page_has_examples_of_everything() -> None:
    assert len(EXAMPLES) >= 6
    assert len(blocks(DELIVERY_TEST)) == 1


def test_examples_of_the_delivery_template_are_its_tests() -> None:
    tests = DELIVERY.read_text(encoding="utf-8")
    assert all(block in tests for block in blocks(DELIVERY_TEST))


def test_all_ways_to_fail_are_in_the_page() -> None:
    ways = [name for name in vars(FaultPlanning) if not name.startswith("_")]
    assert len(ways) >= 9
    missing = [
        name for name in [*ways, "kill", "restart", "send", "skip", "cancel"] if f"t.{name}(" not in PAGE
    ]
    assert not missing
    assert all(
        hasattr(SagaTest, name) for name in re.findall(r"`(?:await )?t\.(\w+)\(", PAGE) if name != "call"
    )
