"""Each character of a scalar knows where it stands, however YAML quotes, folds and indents it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yaml_files import read_yaml

from sagagen.contract.document import read_document
from sagagen.diagnostics import Diagnostic
from sagagen.source import Mapping, Node, Scalar, Sequence, Span

DOCUMENT = """\
plain: text that
  goes on   # a comment
single: 'it''s
  here'
double: "a \\"quoted\\" \\u00e4\\tb \\
  end"
folded: >-   # a comment
  first
  second

  third
literal: |
    two
      more
anchored: &here  value
again: *here
list: [one, "two", {nested: three}]
empty:
number: 12
"""


def read(text: str) -> Mapping:
    found: list[Diagnostic] = []
    document = read_document("saga.yaml", text, found.append)
    assert document is not None
    assert found == []
    return document


def scalars(node: Node) -> list[Scalar]:
    if isinstance(node, Scalar):
        return [node]
    if isinstance(node, Sequence):
        return [scalar for item in node.items for scalar in scalars(item)]
    return [scalar for entry in node for scalar in [entry.key, *scalars(entry.value)]]


def character(text: str, at: Span) -> str:
    lines = text.split("\n")
    return (lines[at.line - 1] + "\n")[at.column - 1]


def assert_places_fit(text: str) -> None:
    for scalar in scalars(read(text)):
        for index, found in enumerate(scalar.text):
            written = character(text, scalar.at(index))
            assert written == found or written == "\\" or (found.isspace() and written.isspace())


def test_every_character_stands_where_it_was_written() -> None:
    assert_places_fit(DOCUMENT)


def test_values_are_what_yaml_says_they_are() -> None:
    document = read(DOCUMENT)
    expected = read_yaml(DOCUMENT)
    for entry in document:
        if isinstance(entry.value, Scalar) and entry.value.tag == "str":
            assert entry.value.text == expected[entry.key.text]


@pytest.mark.parametrize(
    ("key", "text", "place"),
    [
        ("plain", "goes", Span("saga.yaml", 2, 3)),
        ("single", "s here", Span("saga.yaml", 3, 14)),
        ("double", "quoted", Span("saga.yaml", 5, 14)),
        ("double", "b", Span("saga.yaml", 5, 31)),
        ("double", "end", Span("saga.yaml", 6, 3)),
        ("folded", "second", Span("saga.yaml", 9, 3)),
        ("folded", "third", Span("saga.yaml", 11, 3)),
        ("literal", "more", Span("saga.yaml", 14, 7)),
        ("anchored", "value", Span("saga.yaml", 15, 18)),
    ],
)
def test_a_word_is_found_behind_quotes_folds_and_escapes(key: str, text: str, place: Span) -> None:
    value = read(DOCUMENT).get(key)
    assert isinstance(value, Scalar)
    assert value.at(value.text.index(text)) == place


def test_an_alias_stands_where_its_anchor_does_and_an_empty_value_behind_its_key() -> None:
    document = read(DOCUMENT)
    assert document.get("again") == document.get("anchored")
    empty = document.get("empty")
    assert isinstance(empty, Scalar)
    assert (empty.tag, empty.span) == ("null", Span("saga.yaml", 18, 6))


def test_an_anchor_may_be_used_again() -> None:
    values = [entry.value for entry in read("a: &x one\nb: *x\nc: &x two\nd: *x\n")]
    assert [value.text for value in values if isinstance(value, Scalar)] == ["one", "one", "two", "two"]


def test_tags_are_those_of_yaml_1_2() -> None:
    document = read("a: yes\nb: true\nc: 0x1F\nd: 1e3\ne: ~\nf: '1'\ng: 2020-01-01\nh: |\n  5\n")
    tags = [entry.value.tag for entry in document if isinstance(entry.value, Scalar)]
    assert tags == ["str", "bool", "int", "float", "null", "str", "str", "str"]


words = st.text(alphabet="ab .{}'\"#:,[]\\ä€", min_size=1, max_size=12)


@given(st.lists(words, min_size=1, max_size=4))
def test_any_text_keeps_its_places_in_single_quotes(lines: list[str]) -> None:
    quoted = "\n\n  ".join(line.replace("'", "''") for line in lines)
    assert_places_fit(f"key: '{quoted}'\n")


@given(st.lists(words, min_size=1, max_size=4))
def test_any_text_keeps_its_places_in_double_quotes(lines: list[str]) -> None:
    quoted = "\n  ".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    assert_places_fit(f'key: "{quoted}"\n')


@given(
    st.lists(words.filter(lambda word: not word.startswith(" ")), min_size=1, max_size=4),
    st.sampled_from("|>"),
)
def test_any_text_keeps_its_places_in_a_block(lines: list[str], style: str) -> None:
    block = "\n".join(f"    {line}" for line in lines)
    assert_places_fit(f"outer:\n  key: {style}\n{block}\n")
