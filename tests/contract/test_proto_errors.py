"""Protos that do not compile, or whose rules are wrong: one project with a mistake in each file, one run of buf."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from contract_bench import MARK, SAGA_YAML, place, write_project

from sagagen.contract import load
from sagagen.diagnostics import Diagnostic, Severity
from sagagen.source import Span

YAML = "version: v1\nproject: lab\nservices: {}\nsagas: {}\n"
VALIDATE = 'import "buf/validate/validate.proto";\n\n'


@dataclass(frozen=True)
class Broken:
    """The declarations of a file, with one mistake at the mark."""

    mistake: str
    text: str
    message: str

    def __str__(self) -> str:
        return self.mistake


COMPILE = (
    Broken("an unknown type", "message A {\n  «strin a = 1;\n}\n", "cannot find `strin`"),
    Broken("a number twice", "message A {\n  string a = 1;\n  string b = «1;\n}\n", "1"),
    Broken("a name twice", "message A {\n  string «a = 1;\n  string a = 2;\n}\n", "declared multiple times"),
    Broken("a reserved number", "message A {\n  reserved 5;\n  string a = «5;\n}\n", "reserved"),
    Broken("a number out of range", "message A {\n  string a = «0;\n}\n", "out of range"),
    Broken("a missing number", "message A {\n  «string a;\n}\n", ""),
    Broken("a missing bracket", "message A «{\n  string a = 1;\n", ""),
    Broken(
        "an import that there is not",
        '«import "lab/nowhere.proto";\n\nmessage A {}\n',
        'imports "lab/nowhere.proto", which is nowhere',
    ),
    Broken("an unknown option", "message A {\n  option («colour) = true;\n}\n", "colour"),
    Broken("an enum that does not begin with 0", "enum E {\n  E_ONE = «1;\n}\n", "zero"),
    Broken("a map of maps", "message A {\n  map<string, «map<string, string>> a = 1;\n}\n", ""),
    Broken(
        "an rpc without an answer",
        "service AService {\n  rpc Do«(A);\n}\n\nmessage A {}\n",
        "missing method return type",
    ),
    Broken("an rpc of a text", "service AService {\n  rpc Do(«string) returns (A);\n}\n\nmessage A {}\n", ""),
    Broken("two messages of a name", "message «A {}\n\nmessage A {}\n", "declared multiple times"),
)
RULES = (
    Broken(
        "a rule of another type",
        VALIDATE + "message A {\n  int32 a = 1 [«(buf.validate.field).string.min_len = 1];\n}\n",
        "is of type int32 but has (buf.validate.field).string rules",
    ),
    Broken(
        "a rule that is no expression",
        VALIDATE
        + 'message A {\n  int32 a = 1 [«(buf.validate.field).cel = {\n    id: "a"\n    message: "m"\n    expression: "this +"\n  }];\n}\n',
        "fails to compile",
    ),
    Broken(
        "a rule about a field that there is not",
        VALIDATE
        + 'message A {\n  «option (buf.validate.message).cel = {\n    id: "a"\n    message: "m"\n    expression: "this.b > 1"\n  };\n  int32 a = 1;\n}\n',
        "fails to compile",
    ),
)


def file(kind: str, number: int) -> str:
    return f"contracts/{kind}/c{number}/v1/c{number}.proto"


def written(root: Path, kind: str, cases: tuple[Broken, ...]) -> dict[str, str]:
    files = {
        file(kind, number): f'syntax = "proto3";\n\npackage {kind}.c{number}.v1;\n\n{case.text}'
        for number, case in enumerate(cases)
    }
    write_project(root, {**files, SAGA_YAML: YAML})
    return files


@pytest.fixture(scope="module")
def compile_errors(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], tuple[Diagnostic, ...]]:
    root = tmp_path_factory.mktemp("compile")
    return written(root, "lab", COMPILE), load(root)[1]


@pytest.fixture(scope="module")
def rule_errors(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], tuple[Diagnostic, ...]]:
    root = tmp_path_factory.mktemp("rules")
    return written(root, "law", RULES), load(root)[1]


def places_in(found: tuple[Diagnostic, ...], path: str) -> list[tuple[Span, str]]:
    return [(one.at, str(one.code)) for one in found if one.at.path == path]


@pytest.mark.parametrize("number", range(len(COMPILE)), ids=[str(case) for case in COMPILE])
def test_a_proto_that_does_not_compile_is_named_with_its_place(
    number: int, compile_errors: tuple[dict[str, str], tuple[Diagnostic, ...]]
) -> None:
    files, found = compile_errors
    path = file("lab", number)
    assert places_in(found, path) == [(place(files[path], path), "SG001")]
    finding = next(one for one in found if one.at.path == path)
    assert COMPILE[number].message in finding.message
    assert finding.hint
    assert finding.severity is Severity.ERROR


@pytest.mark.parametrize("number", range(len(RULES)), ids=[str(case) for case in RULES])
def test_a_rule_that_cannot_be_evaluated_is_an_error(
    number: int, rule_errors: tuple[dict[str, str], tuple[Diagnostic, ...]]
) -> None:
    files, found = rule_errors
    path = file("law", number)
    assert places_in(found, path) == [(place(files[path], path), "SG007")]
    finding = next(one for one in found if one.at.path == path)
    assert RULES[number].message in finding.message
    assert finding.severity is Severity.ERROR
    assert MARK not in finding.message
