"""Whatever protoc accepts, `generate` turns into code that type-checks and runs, or `check` refuses; no third way.

SAGAGEN_FUZZ_ROUNDS=50 tries more than the default run has time for.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from golden_corpus import STDOUT, Case, Texts, broken, has_generated, outcome
from golden_run import tried
from hypothesis import given, settings
from made_up import contracts
from odd_names import ODD_NAMES, ODD_PACKAGES, REFUSED, free
from thorough import FUZZ_ROUNDS, SLOW_AND_LARGE, chosen

EXAMPLES = 8 * FUZZ_ROUNDS
AT_ONCE = 40
"""How many contracts are type-checked in one run, which takes memory."""
REFUSAL = re.compile(r"^\S+:\d+:\d+: error\[SG\d{3}\]: .+\n  hint: .+$", re.MULTILINE)


def written(folder: Path, files: Mapping[str, str]) -> Case:
    for path, text in files.items():
        (folder / "contracts" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "contracts" / path).write_text(text, "utf-8")
    return Case(folder)


def told(files: Mapping[str, str], problem: str) -> str:
    return "\n".join([problem, *(f"--- {path}\n{text}" for path, text in files.items())])


def assert_generated_or_refused(found: Texts) -> None:
    assert not broken(found), broken(found)
    if not has_generated(found):
        assert REFUSAL.search(found[STDOUT]), found[STDOUT]


@pytest.mark.slow
def test_whatever_protoc_accepts_is_generated_or_refused(tmp_path: Path) -> None:
    made: dict[str, Mapping[str, str]] = {}
    found: dict[str, Texts] = {}

    @settings(max_examples=EXAMPLES, suppress_health_check=SLOW_AND_LARGE)
    @given(contracts())
    def generate_one(files: Mapping[str, str]) -> None:
        name = f"c{len(made)}"
        made[name] = files
        found[name] = outcome(written(tmp_path / "made" / name, files), tmp_path / name)
        assert_generated_or_refused(found[name])

    generate_one()
    names = [*found]
    for first in range(0, len(names), AT_ONCE):
        some = {name: found[name] for name in names[first : first + AT_ONCE]}
        for name, texts in tried(some, tmp_path, {}).items():
            assert not broken(texts), told(made[name], broken(texts))
    accepted = [name for name, texts in found.items() if has_generated(texts)]
    assert len(accepted) > len(found) / 2


def proto(package: str, *lines: str) -> str:
    """It has few of the options of proto3, so that any name passes."""
    return "\n".join(['syntax = "proto2";', f"package {package};", *lines, ""])


def every_odd_name() -> dict[str, str]:
    """One contract with each of the names as a message, a field, a value, an rpc, a oneof and a package.

    By default with the oddest of them.
    """
    fields, values, rpcs, oneofs, messages = (set[str]() for _ in range(5))
    some = chosen(ODD_NAMES, first=300)
    odd = [*some, *sorted(REFUSED)]
    text = proto(
        "odd",
        'import "google/api/annotations.proto";',
        'import "odds.proto";',
        *(f"message {free(name, messages)} {{ optional string text = 1; }}" for name in odd),
        "message AllFields {",
        *(f"  optional string {free(name, fields)} = {n};" for n, name in enumerate(some, 1)),
        "}",
        "message AllValues {",
        "  enum Value {",
        *(f"    {free(name, values)} = {n};" for n, name in enumerate(odd)),
        "  }",
        "  optional Value only1 = 1; repeated Value only2 = 2; map<string, Value> only3 = 3;",
        "}",
        "message AllOneofs {",
        *(f"  oneof {free(name, oneofs)} {{ string only{n} = {n}; }}" for n, name in enumerate(odd, 1)),
        "}",
        "message FromElsewhere { optional odds.AllPackages only1 = 1; }",
        "service Back {",
        "  rpc SellOne(AllFields) returns (AllValues);",
        *(f"  rpc {free(name, rpcs)}(AllFields) returns (AllValues);" for name in odd if name.strip("_")),
        "}",
        "service Front {",
        '  rpc Sell(AllFields) returns (AllValues) { option (.google.api.http) = {post: "/sales" body: "*"}; }',
        "}",
    )
    inner = "message Inner { optional int32 n = 1; map<string, Inner> inner = 2; }"
    return {
        "saga.yaml": SAGA_YAML,
        "odd.proto": text,
        "odds.proto": proto(
            "odds",
            *(f'import "odds/{name}.proto";' for name in ODD_PACKAGES),
            "message AllPackages {",
            *(f"  optional .odds.{name}.Inner only{n} = {n};" for n, name in enumerate(ODD_PACKAGES, 1)),
            "}",
        ),
        **{f"odds/{name}.proto": proto(f"odds.{name}", inner) for name in ODD_PACKAGES},
    }


SAGA_YAML = """\
version: v1
project: odd
services: { shop: { implements: [odd.Back] } }
sagas:
  sell:
    trigger: odd.Front/Sell
    steps: [{ name: sell, call: shop/SellOne, request: input, compensate: none }]
"""


@pytest.mark.slow
def test_every_odd_name_in_every_place_breaks_nothing(tmp_path: Path) -> None:
    found = outcome(written(tmp_path / "made", every_odd_name()), tmp_path / "odd")
    assert has_generated(found), found[STDOUT]
    (texts,) = tried({"odd": found}, tmp_path, {}).values()
    assert not broken(texts), broken(texts)
