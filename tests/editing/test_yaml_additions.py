"""What is put into saga.yaml stands where it belongs, in the style of its neighbours; every other byte stays."""

import difflib
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from thorough import FUZZ_ROUNDS
from yaml_files import read_yaml

from sagagen.editing.saga_yaml import SagaYaml
from sagagen.editing.text import CannotAdd
from sagagen.editing.yaml_insert import FIRST, Value
from sagagen.workspace.source_text import SourceText

SERVICE: Mapping[str, Value] = {"implements": ["a.v1.AService"]}
STEP: Mapping[str, Value] = {"name": "two", "call": "a/Two", "request": {}}


def read(text: str) -> SagaYaml:
    return SagaYaml.read(SourceText.read_utf8(text.encode()))


def added(before: str, after: str) -> str:
    """What `after` has more than `before`; it must have all of that."""
    moves = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    assert {move[0] for move in moves} <= {"equal", "insert"}, after
    return "".join(after[move[3] : move[4]] for move in moves if move[0] == "insert")


SERVICES = [
    (
        "in brackets, like its neighbour",
        "services:\n  b: { implements: [b] }\n",
        "  a: { implements: [a.v1.AService] }\n",
    ),
    (
        "over several lines, like its neighbour",
        "services:\n    b:\n        implements: [b]\n",
        "    a:\n        implements: [a.v1.AService]\n",
    ),
    (
        "before what follows, and before the comment of that",
        "services:\n  b: { implements: [b] } # b\n\n# defaults\ndefaults: {}\n",
        "  a: { implements: [a.v1.AService] }\n",
    ),
    (
        "behind a comment of the last one",
        "services:\n  b: { implements: [b] }\n  # c: { implements: [c] }\nsagas: {}\n",
        "  a: { implements: [a.v1.AService] }\n",
    ),
    (
        "with a blank line where the others have one",
        "services:\n  c: { implements: [c] }\n\n  b: { implements: [b] }\nx: 1\n",
        "\n  a: { implements: [a.v1.AService] }\n",
    ),
    (
        "with CRLF",
        "services:\r\n  b: { implements: [b] }\r\nx: 1\r\n",
        "  a: { implements: [a.v1.AService] }\r\n",
    ),
    (
        "at the end of a file without a last line end",
        "services:\n  b: { implements: [b] }",
        "\n  a: { implements: [a.v1.AService] }",
    ),
    ("into brackets", "services: { b: { implements: [b] } }\n", ", a: { implements: [a.v1.AService] }"),
    (
        "into brackets over several lines",
        "services: {\n  b: { implements: [b] } # b\n}\n",
        ",\n  a: { implements: [a.v1.AService] }",
    ),
    (
        "into brackets with a last comma",
        "services: {\n  b: { implements: [b] }, # b\n}\n",
        "\n  a: { implements: [a.v1.AService] },",
    ),
    ("behind an empty value", "services:\nx: 1\n", "  a: { implements: [a.v1.AService] }\n"),
    (
        "behind an empty value with a comment",
        "services: # none yet\nx: 1\n",
        "  a: { implements: [a.v1.AService] }\n",
    ),
    ("where the key is missing", "version: v1\n", "services:\n  a: { implements: [a.v1.AService] }\n"),
    ("below an anchor", "services:\n  b: &b { implements: [b] }\n", "  a: { implements: [a.v1.AService] }\n"),
]


@pytest.mark.parametrize(
    ("before", "more"), [case[1:] for case in SERVICES], ids=[case[0] for case in SERVICES]
)
def test_a_service_is_added(before: str, more: str) -> None:
    after = read(before).with_entry(("services",), "a", SERVICE)
    # Where a line end stands in front of both, it does not matter whose it is called.
    assert sorted(added(before, after.text)) == sorted(more)
    assert more.strip(", \r\n") in after.text
    assert after.text.count("\r\n") == (after.text.count("\n") if "\r\n" in before else 0)


STEPS = [
    (
        "over several lines",
        "    - name: one\n      call: a/One\n",
        "    - name: two\n      call: a/Two\n      request: {}\n",
    ),
    (
        "with the indentation of the others",
        "       -   name: one\n           call: a/One\n",
        "       -   name: two\n           call: a/Two\n           request: {}\n",
    ),
    ("in brackets", "    - { name: one, call: a/One }\n", "    - { name: two, call: a/Two, request: {} }\n"),
    (
        "behind a folded text and a comment within it",
        "    - name: one\n      call: >-\n        a/\n        One\n\n      # more\n  other: 1\n",
        "    - name: two\n      call: a/Two\n      request: {}\n",
    ),
]


@pytest.mark.parametrize(("steps", "more"), [case[1:] for case in STEPS], ids=[case[0] for case in STEPS])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_a_step_is_added_at_the_end(steps: str, more: str, newline: str) -> None:
    before = f"sagas:\n  s:\n    steps: # all\n{steps}".replace("\n", newline)
    if "other" in steps:
        before = before.replace("  other", "    other")
    after = read(before).with_item(("sagas", "s", "steps"), STEP).text
    added(before, after)
    assert more.replace("\n", newline) in after


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("[]", "\n      - name: two\n        call: a/Two\n        request: {}"),
        ("[] # none", " # none\n      - name: two\n        call: a/Two\n        request: {}"),
        ("[{ name: one }]", " [{ name: one }, { name: two, call: a/Two, request: {} }]"),
        ("", "\n      - name: two\n        call: a/Two\n        request: {}"),
    ],
)
def test_a_step_is_added_to_a_list_on_one_line(steps: str, expected: str) -> None:
    after = read(f"sagas:\n  s:\n    steps: {steps}\n").with_item(("sagas", "s", "steps"), STEP)
    assert after.text.replace("steps: \n", "steps:\n") == f"sagas:\n  s:\n    steps:{expected}\n"


BETWEEN = """sagas:
  s:
    steps:
      # the first
      - name: one # one
        call: a/One
        # undone by nothing

      # the last
      - name: three
        call: a/Three
"""


def test_a_step_in_the_middle_leaves_comments_with_their_steps() -> None:
    after = read(BETWEEN).with_item(("sagas", "s", "steps"), STEP, 0).text
    before, more, behind = after.partition("\n\n      - name: two\n        call: a/Two\n        request: {}")
    assert more
    assert before.endswith("# undone by nothing")
    assert behind.startswith("\n\n      # the last\n      - name: three")


def test_a_step_in_the_middle_of_brackets_stands_between_them() -> None:
    text = "sagas: { s: { steps: [{ name: one }, { name: three }] } }\n"
    after = read(text).with_item(("sagas", "s", "steps"), STEP, 0).text
    assert (
        after
        == "sagas: { s: { steps: [{ name: one }, { name: two, call: a/Two, request: {} }, { name: three }] } }\n"
    )


def test_a_step_before_all_others_leaves_the_comment_of_the_first() -> None:
    after = read(BETWEEN).with_item(("sagas", "s", "steps"), STEP, FIRST).text
    assert (
        "steps:\n      - name: two\n        call: a/Two\n        request: {}\n      # the first\n      - name: one"
        in after
    )
    flow = (
        read("sagas: { s: { steps: [ { name: one } ] } }\n")
        .with_item(("sagas", "s", "steps"), STEP, FIRST)
        .text
    )
    assert "steps: [ { name: two, call: a/Two, request: {} }, { name: one } ]" in flow


def test_a_name_that_yaml_takes_for_something_else_is_quoted() -> None:
    after = read("services:\n  b: { implements: [b] }\n").with_entry(("services",), "true", SERVICE)
    assert '  "true": { implements' in after.text


def test_an_alias_is_not_added_to() -> None:
    text = "sagas:\n  r:\n    steps: &all\n      - name: one\n  s:\n    steps: *all\n"
    with pytest.raises(CannotAdd, match=r"line 6: .* alias"):
        read(text).with_item(("sagas", "s", "steps"), STEP)


def test_what_an_alias_repeats_is_not_added_to_either() -> None:
    text = "sagas:\n  r:\n    steps: &all\n      - name: one\n  s:\n    steps: *all\n"
    with pytest.raises(CannotAdd, match="add it by hand"):
        read(text).with_item(("sagas", "r", "steps"), STEP)


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2\n", "- 1\n", "", "a: !x y\n"])
def test_what_is_no_saga_yaml_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(CannotAdd, match=r"contracts/saga.yaml:\d+:\d+: .*fix that first"):
        read(text)


NAMES = st.sampled_from(["a", "bb", "ccc", "true", "d_4"])
LEAVES: st.SearchStrategy[object] = st.sampled_from(
    ["x", 1, None, "it's", "a: b", "# no", "1m30s", "é\U0001f600"]
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60 * FUZZ_ROUNDS)
@given(
    services=st.dictionaries(NAMES, TREES, max_size=3),
    rest=st.dictionaries(st.sampled_from(["version", "sagas"]), TREES, max_size=2),
    is_flow=st.sampled_from([True, False, None]),
    width=st.sampled_from([20, 80]),
    indent=st.sampled_from([2, 4]),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_is_there_says_the_same_afterwards(
    services: dict[str, object],
    rest: dict[str, object],
    is_flow: bool | None,
    width: int,
    indent: int,
    newline: str,
) -> None:
    before = _dumped({"services": services, **rest}, is_flow, width, indent).replace("\n", newline)
    said = read_yaml(before)
    try:
        after = read(before).with_entry(("services",), "new", SERVICE).text
    except CannotAdd:
        return
    assert read_yaml(after) == {
        **said,
        "services": {**said["services"], "new": {"implements": ["a.v1.AService"]}},
    }
    assert len(after) >= len(before)


def _dumped(value: object, is_flow: bool | None, width: int, indent: int) -> str:
    import io

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = is_flow
    yaml.width = width
    yaml.indent = indent
    yaml.allow_unicode = True
    stream = io.StringIO()
    yaml.dump(value, stream)  # pyright: ignore[reportUnknownMemberType] - ruamel's stream has no type
    return stream.getvalue()
