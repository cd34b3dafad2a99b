"""Whatever saga.yaml and the protos hold, the answer is a mesh or at least one error, never an exception.

SAGAGEN_FUZZ_ROUNDS=50 tries more than the default run has time for.
"""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from contract_bench import SAGA_YAML, resolve_yaml, shop, shop_files, shop_yaml, write_project
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import FUZZ_ROUNDS

from sagagen.contract import load, resolve
from sagagen.diagnostics import has_errors
from sagagen.editing.proto_insert import NewRpc, with_rpc
from sagagen.editing.proto_outline import ProtoOutline
from sagagen.editing.saga_yaml import SagaYaml
from sagagen.editing.text import CannotAdd
from sagagen.workspace.source_text import SourceText

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
        r'"\ud800"',
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


few = settings(max_examples=25)


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


@pytest.mark.parametrize("item", ["[{}]", "{{a: [{}]}}"])
def test_aliases_that_multiply_are_one_finding_at_once(item: str) -> None:
    """Thirty lines that stand for more values than there are atoms."""
    levels = [f"x0: &a0 [{', '.join('1' * 10)}]\n"]
    for n in range(1, 30):
        many = ", ".join([f"*a{n - 1}"] * 10)
        levels.append(f"x{n}: &a{n} {item.format(many)}\n")
    _, found = resolve_yaml(shop_yaml() + "".join(levels))
    (about,) = [each for each in found if each.code == "SG018"]
    assert "repeated by aliases" in about.message


@pytest.mark.parametrize(("depth", "code"), [(70, "SG018"), (200, "SG018"), (5000, "SG010")])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_any_depth_is_a_finding(depth: int, code: str, brackets: str) -> None:
    opening, closing = brackets
    key = "a: " if brackets == "{}" else ""
    _, found = resolve_yaml(f"version: v1\nproject: {(opening + key) * depth}x{closing * depth}\n")
    assert code in [str(diagnostic.code) for diagnostic in found]


PROTOS = {path: text for path, text in shop_files().items() if path.endswith(".proto")}
TOKENS = {path: re.findall(r'"[^"]*"|\w+|\s+|.', text) for path, text in PROTOS.items()}
PIECES = (
    "{",
    "}",
    ";",
    "(",
    ")",
    "=",
    '"',
    "//",
    "/*",
    "message",
    "rpc",
    "stream",
    "repeated",
    "0",
    "-1",
    "\0",
    "é",
    "option",
)


def mutated(path: str, at: int, action: str, piece: str) -> str:
    tokens = list(TOKENS[path])
    index = at % len(tokens)
    if action == "drop":
        del tokens[index]
    elif action == "put":
        tokens.insert(index, piece)
    elif action == "swap":
        tokens[index] = piece
    else:
        tokens = tokens[:index]
    return "".join(tokens)


mutations = st.tuples(
    st.sampled_from(sorted(PROTOS)),
    st.integers(0, 5000),
    st.sampled_from(["drop", "put", "swap", "cut"]),
    st.sampled_from(PIECES),
)


@settings(max_examples=10 * FUZZ_ROUNDS)
@given(st.lists(mutations, min_size=1, max_size=3, unique_by=lambda mutation: mutation[0]))
def test_protos_with_anything_in_them(edits: list[tuple[str, int, str, str]]) -> None:
    files = {**shop_files(), **{edit[0]: mutated(*edit) for edit in edits}}
    with tempfile.TemporaryDirectory() as folder:
        sources, found = load(write_project(Path(folder), files))
        mesh, more = resolve(sources)
    assert (mesh is None) == has_errors(more)
    assert all(
        finding.at.path.startswith("contracts/") and finding.at.line > 0 for finding in (*found, *more)
    )


@settings(max_examples=60 * FUZZ_ROUNDS)
@given(mutations, mutations)
def test_rpcs_are_put_into_any_proto_or_refused(
    one: tuple[str, int, str, str], other: tuple[str, int, str, str]
) -> None:
    for edit in (one, other):
        try:
            proto = ProtoOutline.read(SourceText.read_utf8(mutated(*edit).encode()), edit[0])
        except CannotAdd:
            continue
        for service in proto.services[:1]:
            written = with_rpc(proto, service, NewRpc("Extra", is_read=True, http=None), ("id",))
            assert len(written.text) > len(proto.source.text)


@settings(max_examples=60 * FUZZ_ROUNDS)
@given(
    st.lists(st.tuples(st.sampled_from(VALUES), st.sampled_from(FRAGMENTS)), max_size=3),
    st.sampled_from([None, -1, 0, 1]),
)
def test_steps_are_put_into_any_saga_yaml_or_refused(edits: list[tuple[int, str]], after: int | None) -> None:
    lines = list(LINES)
    for index, fragment in edits:
        lines[index] = f"{lines[index].partition(': ')[0]}: {fragment}\n"
    try:
        yaml = SagaYaml.read(SourceText.read_utf8("".join(lines).encode()))
        written = yaml.with_item(("sagas", "place_order", "steps"), {"name": "extra", "call": "a/B"}, after)
        written = SagaYaml.read(written).with_entry(("services",), "extra", {"implements": ["a.v1.B"]})
    except CannotAdd:
        return
    assert written.text.count("extra") == 2


@settings(max_examples=40 * FUZZ_ROUNDS)
@given(st.binary(max_size=40), st.integers(0, 3000))
def test_bytes_of_any_kind(noise: bytes, at: int) -> None:
    content = shop_yaml().encode()
    content = content[: at % len(content)] + noise + content[at % len(content) :]
    with tempfile.TemporaryDirectory() as folder:
        root = write_project(Path(folder), {})
        (root / SAGA_YAML).parent.mkdir()
        (root / SAGA_YAML).write_bytes(content)
        text, found = load(root)
    mesh, more = resolve(replace(shop(), saga_yaml=text.saga_yaml))
    assert (mesh is None) == (has_errors(more) or text.saga_yaml is None)
    assert text.saga_yaml is not None or any(finding.code == "SG004" for finding in found)
