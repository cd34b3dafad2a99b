"""An expression without quotes is read as written, or YAML's other reading is reported: never silently another."""

import pytest
from cel_expressions import Expression, expressions
from expression_lab import Lab
from hypothesis import given, settings
from thorough import FUZZ_ROUNDS

from sagagen.contract.document import read_document
from sagagen.diagnostics import Diagnostic
from sagagen.expression import variable_problem
from sagagen.source import Mapping, Node, Scalar

TAGS = [
    ("when: ‸!event.accepted", "!event.accepted"),
    ("when: ‸!has(steps.x) # a comment", "!has(steps.x)"),
    ("when: ‸!a\nnext: 1", "!a"),
    ("when:\n  ‸!a", "!a"),
    ("when: ‸!a && b", "!a && b"),
    ("when: ‸!(a && b)", "!(a && b)"),
    ("when: ‸!a || b", "!a || b"),
    ("when: ‸!a == b", "!a == b"),
    ("when: ‸!a ? b : c", "!a ? b : c"),
    ("when: ‸!a\n  && b", "!a\n  && b"),
    ("words:\n  - ‸!a", "!a"),
    ("decline: { reason: X, when: ‸!a.b }", "!a.b"),
    ("decline: { when: ‸!a.b, reason: X }", "!a.b"),
]
UNQUOTED = [
    ("when: ‸a ? b : c", "a ? b : c"),
    ("when: ‸a ? b : 'c' # a comment", "a ? b : 'c'"),
    ("first: 1\nwhen: ‸a ? b : c\nnext: 1", "a ? b : c"),
    ("a: { when: ‸a ? b : c }", "a ? b : c"),
    ("when: ‸f(a, b) ? b : c", "f(a, b) ? b : c"),
    ("a: { when: ‸f(a, b) ? b : c, next: 1 }", "f(a, b) ? b : c"),
    ("a: { in: ‸xs.filter(x, x.a > 0), key: x.id }", "xs.filter(x, x.a > 0)"),
    ("a: { in: ‸xs.map(x, ys.map(y, x + y)) }", "xs.map(x, ys.map(y, x + y))"),
    ("a: [1, ‸xs.map(x, x), 2]", "xs.map(x, x)"),
    ("a: { b: ‸c + 'x, y', d: e }", "c + 'x, y'"),
    ("a: ‸c + ' #'", "c + ' #'"),
    ("a: { b: ‸f([1, 2], c), d: e }", "f([1, 2], c)"),
    ("when: ‸a ? b : {'c': 1}", "a ? b : {'c': 1}"),
    ("when: ‸xs.map(x, x ? 1 : 2)", "xs.map(x, x ? 1 : 2)"),
    ("when: ‸a ?\n  b : c", "a ?\n  b : c"),
    ("when: ‸'a' == b", "'a' == b"),
    ("when: ‸a + ': '", "a + ': '"),
    ("when: ‸[a] == b", "[a] == b"),
    ("when: ‸[!a.b]", "[!a.b]"),
]


def read(yaml: str) -> tuple[Mapping | None, list[Diagnostic]]:
    found: list[Diagnostic] = []
    return read_document("saga.yaml", yaml, found.append), found


@pytest.mark.parametrize(
    ("yaml", "expression", "code"),
    [*((yaml, text, "SG129") for yaml, text in TAGS), *((yaml, text, "SG130") for yaml, text in UNQUOTED)],
)
def test_a_trap_is_told_where_the_expression_begins(yaml: str, expression: str, code: str) -> None:
    before, _, after = yaml.partition("‸")
    _, found = read(f"{before}{after}\n")
    assert [finding.code for finding in found] == [code]
    at = found[0].at
    assert (at.line, at.column) == (before.count("\n") + 1, len(before) - before.rfind("\n"))
    assert unquoted(found[0]) == expression


def unquoted(finding: Diagnostic) -> str:
    """The expression that a hint puts in quotes, as YAML reads it."""
    assert finding.hint.startswith("put it in quotes: ")
    document, found = read(f"when: {finding.hint.removeprefix('put it in quotes: ')}\n")
    assert document is not None
    assert found == []
    return text_of(document.get("when"))


def text_of(node: Node | None) -> str:
    assert isinstance(node, Scalar)
    return node.text


@pytest.mark.parametrize(
    ("yaml", "code"),
    [
        ("when: !!str x", "SG018"),
        ("when: ! x", "SG018"),
        ("when: !x(", "SG018"),
        ("when: !x y", "SG018"),
        ("when: !x &y z", "SG018"),
        ("when: &y !x z", "SG018"),
        ("when: !x { a: b }", "SG018"),
        ("when: some text: more", "SG010"),
        ("when: 'a' b", "SG010"),
        ("when: a\n b: c", "SG010"),
    ],
)
def test_what_is_no_expression_is_no_trap(yaml: str, code: str) -> None:
    assert [finding.code for finding in read(f"{yaml}\n")[1]] == [code]


def test_behind_a_tag_other_mistakes_are_found(lab: Lab) -> None:
    _, found = lab.value("when", "!input.flg && input.flag")
    assert [(finding.code, finding.at.column) for finding in found] == [("SG129", 7), ("SG102", 14)]


@pytest.mark.parametrize(
    ("yaml", "text"),
    [
        ("words: [input.flag ? input.text : input.nick]", "input.flag ? input.text : input.nick"),
        ("words:\n  - input.flag ? 'it''s' : input.nick", "input.flag ? 'it\\'s' : input.nick"),
    ],
)
def test_a_choice_in_a_list_is_no_mapping(lab: Lab, yaml: str, text: str) -> None:
    _, found = lab.compile(yaml)
    if "''" in yaml:
        assert [finding.code for finding in found] == ["SG122"], "CEL has no '': it is two texts"
        return
    assert [finding.code for finding in found] == ["SG130"]
    assert unquoted(found[0]) == text


@pytest.mark.slow
@settings(max_examples=200 * FUZZ_ROUNDS)
@given(expression=expressions(depth=2))
def test_no_expression_is_silently_read_as_another(expression: Expression) -> None:
    text = expression.text
    for yaml, wanted in ((f"when: {text}\n", text), (f"a: {{ when: {text}, b: c }}\n", text)):
        document, found = read(yaml)
        assert {finding.code for finding in found} <= {"SG129", "SG130"}, yaml
        if found:
            assert unquoted(found[0]) == wanted
            continue
        assert document is not None
        block = document.get("a")
        node = (block if isinstance(block, Mapping) else document).get("when")
        # A list is reported by whoever wants one expression; a text alone has lost its quotes, as in any YAML.
        is_text = text[0] in "'\""
        assert is_text or not isinstance(node, Scalar) or node.text == wanted


def test_what_yaml_took_for_keys_is_not_checked_as_such(lab: Lab) -> None:
    _, found = lab.compile("inner: { words: input.items.map(i, i.nam), text: input.txt }")
    assert [finding.code for finding in found] == ["SG130", "SG102", "SG102"]


@pytest.mark.parametrize(
    "yaml", ["d: { a: it's fine, b: c }", "d: { a: f(x, b: c }", "d: [a(, b]", "a: it's fine"]
)
def test_other_commas_are_yamls(yaml: str) -> None:
    assert read(f"{yaml}\n")[1] == []


@pytest.mark.parametrize("name", ["input", "event", "caller", "for", "in", "1st", "dish-id", "größe", ""])
def test_a_loops_variable_has_a_name_of_its_own(name: str) -> None:
    problem = variable_problem(name)
    assert problem is not None
    assert problem.code == "SG131"
    assert problem.hint


def test_other_names_are_fine() -> None:
    assert [variable_problem(name) for name in ("dish", "item", "Dish2", "_")] == [None] * 4
