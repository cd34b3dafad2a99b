"""libyaml and ruamel.yaml read the same of saga.yaml, down to the place of each character."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from project_copy import accepted_contracts
from thorough import FUZZ_ROUNDS

from sagagen.contract import composing, document
from sagagen.diagnostics import Diagnostic
from sagagen.source import Mapping, Node, Scalar, Sequence

CONTRACTS = [path.read_text() for path in accepted_contracts() if "golden" not in path.parts]
"""Not those of the corpus: some are written so that only ruamel reads them."""
FEATURES = """\
a: |
  text
   more

b: >-
  folded
  text

  x
c: "quoted \\" \\u00e9 x"
d: 'single '' q'
# comment
e: [a, b, {c: d}]   # end
f:
- 1
- two # c
-
  x:
g: plain
  multi line
h: {a: "b", c : d,}
i: 0o17
j: yes
k: ~
l: >+2
    deep

m: "a\\
   b\\n c"
n: {q: 1.5, "r": -.inf, s: 2001-01-01}
"""
PIECES = [
    *" \n:-{}[],#&*!|>'\"%@`?abc1.0~=\\\t\r",
    *("é", "😀", "\u2028", "\x85", "\ufeff", "---", "..."),
    *("- ", "\n  ", ": ", "<<", "? ", ",", "\n- ", "\n\n", "|+\n", "\x00", "\\u00e9", "\\/"),
]

Told = tuple[object, list[Diagnostic]]


def told(text: str) -> Told:
    """The document with each place in it, and what is wrong with it."""
    found: list[Diagnostic] = []
    root = document.read_document("contracts/saga.yaml", text, found.append)
    return (None if root is None else whole(root)), found


def whole(node: Node) -> object:
    match node:
        case Scalar():
            places = [node.at(offset) for offset in range(len(node.text) + 1)]
            return node.span, node.text, node.tag, node.is_quoted, places
        case Sequence():
            return node.span, [whole(item) for item in node.items]
        case Mapping():
            return node.span, [(whole(entry.key), whole(entry.value)) for entry in node]


def by_ruamel(text: str) -> Told:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "compose_quickly", composing.compose)
        return told(text)


@pytest.mark.parametrize("text", [*CONTRACTS, FEATURES])
def test_both_read_the_same_and_libyaml_is_the_one_that_does(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = by_ruamel(text)

    def unasked(_: str) -> None:
        raise AssertionError("ruamel.yaml was asked")

    monkeypatch.setattr(composing, "compose", unasked)
    assert told(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a:\tb\n",
        "%YAML 1.1\n---\na: yes\n",
        "\u2028a: b\nc: d\n",
        "a:\n  b: c\x85  d: e\n",
        "\ufeffa: b\n",
        "a: |#\n  b\n",
        "a: |\n \n  b\n",
        "a: {? : b}\n",
        "a: [{b: c}:]\n",
        "a: &x 1\nb: *x\n",
        "a: !!str 1\n",
        "a: !x {b: c}\n",
        "a: !!set {b: c}\n",
        "a: b\n---\nc: d\n",
        "--- a\n",
        "a: [\n",
        "a: b: c\n",
        "",
        "# nothing\n",
        "- a\n",
        "a: " + "[" * 2000,
    ],
    ids=repr,
)
def test_what_they_may_read_otherwise_is_read_by_ruamel(text: str) -> None:
    assert told(text) == by_ruamel(text)


def test_where_libyaml_is_not_there_ruamel_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(composing, "compose", asked.append)
    monkeypatch.setattr(composing.libyaml, "__with_libyaml__", False)
    composing.compose_quickly("a: b")
    assert asked == ["a: b"]


@settings(max_examples=150 * FUZZ_ROUNDS)
@given(st.integers(0, 2**32))
def test_mutations_of_contracts_are_read_the_same(seed: int) -> None:
    text = mutated(random.Random(seed))
    if (expected := by_ruamel(text)) != (found := told(text)):
        # libyaml lets a little more pass; what both let pass is the same.
        assert expected[1], (text, expected, found)


def mutated(chance: random.Random) -> str:
    lines = chance.choice([FEATURES, *CONTRACTS]).splitlines(keepends=True)
    first = chance.randrange(len(lines))
    text = list("".join(lines[first : first + chance.randrange(3, 25)]))
    changes: list[Callable[[int], None]] = [
        lambda at: text.insert(at, chance.choice(PIECES)),
        lambda at: text.__delitem__(slice(at, at + chance.randrange(1, 4))),
        lambda at: text.__setitem__(at, chance.choice(PIECES)),
    ]
    for _ in range(chance.randrange(6)):
        if text:
            chance.choice(changes)(chance.randrange(len(text)))
    return "".join(text)
