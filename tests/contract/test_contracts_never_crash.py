"""Whatever saga.yaml holds, the answer is a mesh or at least one error, never an exception."""

import pytest
from contract_bench import resolve_yaml, shop_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagagen.diagnostics import has_errors

LINES = shop_yaml().splitlines(keepends=True)
FRAGMENTS = (
    *(
        "null",
        "[]",
        "{}",
        "5",
        "1.5",
        "true",
        "''",
        "~",
        "- x",
        "none",
        "*a",
        "&a b",
        "!t x",
        "a/b",
        "2s",
        "saga.id",
        "steps",
    ),
    *(
        "order/CreateOrder",
        "{ call: order/CancelOrder }",
        "{ a: { b: [c] } }",
        "'unclosed",
        "\t",
        "é",
        "input.items",
        ":",
    ),
)
VALUES = [index for index, line in enumerate(LINES) if ": " in line]


def check(lines: list[str]) -> None:
    mesh, found = resolve_yaml("".join(lines))
    assert (mesh is None) == has_errors(found)
    assert all(
        diagnostic.at.line <= len(lines) + 1 for diagnostic in found if diagnostic.at.path.endswith(".yaml")
    )


few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(st.lists(st.tuples(st.sampled_from(VALUES), st.sampled_from(FRAGMENTS)), min_size=1, max_size=3))
def test_values_replaced_by_anything(edits: list[tuple[int, str]]) -> None:
    lines = list(LINES)
    for index, fragment in edits:
        lines[index] = f"{lines[index].partition(': ')[0]}: {fragment}\n"
    check(lines)


@few
@given(st.sets(st.integers(0, len(LINES) - 1), min_size=1, max_size=6))
def test_lines_left_out(dropped: set[int]) -> None:
    check([line for index, line in enumerate(LINES) if index not in dropped])


@few
@given(st.lists(st.integers(0, len(LINES) - 1), min_size=1, max_size=3), st.integers(0, len(LINES) - 1))
def test_lines_repeated_elsewhere(copied: list[int], where: int) -> None:
    check([*LINES[:where], *(LINES[index] for index in copied), *LINES[where:]])


@pytest.mark.parametrize(("depth", "code"), [(70, "SG018"), (200, "SG018"), (5000, "SG010")])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_any_depth_is_a_finding(depth: int, code: str, brackets: str) -> None:
    opening, closing = brackets
    key = "a: " if brackets == "{}" else ""
    _, found = resolve_yaml(f"version: v1\nproject: {(opening + key) * depth}x{closing * depth}\n")
    assert code in [str(diagnostic.code) for diagnostic in found]
