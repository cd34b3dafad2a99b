"""No private name of a library without an upper bound, a plain way beside it, a test of both, and a switch."""

import ast
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from finding import Use, imports, uses
from packaging.requirements import Requirement
from packaging.version import Version

from sagagen.runtime.plain import SWITCHES

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "codegen" / "sagagen" / "runtime"
TABLE = tomllib.loads((Path(__file__).parent / "private_names.toml").read_text())
SEAMS: list[dict[str, Any]] = TABLE["seam"]
ENTRIES: list[dict[str, Any]] = [*SEAMS, *TABLE["documented"]]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECISION = (ROOT / "docs" / "decisions" / "144-private-names.md").read_text()


def found() -> set[Use]:
    return set(uses(RUNTIME, "sagagen.runtime"))


def test_every_private_name_that_the_runtime_uses_is_in_the_table():
    missing = [use for use in sorted(found()) if not any(_covers(entry, use) for entry in ENTRIES)]
    assert missing == []


def test_the_table_names_nothing_that_the_runtime_does_not_use():
    used = found()
    stale = [
        (entry["library"], name)
        for entry in ENTRIES
        for name in entry["names"]
        if not any(use.name == name and use.file in entry["files"] for use in used)
    ]
    assert stale == []


def test_modules_that_are_documented_nowhere_are_imported_only_where_the_table_says():
    """But for uvicorn's server, which the plain way subclasses too, by its public methods."""
    elsewhere = [
        (path.relative_to(RUNTIME).as_posix(), name)
        for path in sorted(RUNTIME.rglob("*.py"))
        for name in imports(ast.parse(path.read_text()))
        for entry in SEAMS
        if any(name.startswith(f"{module}.") for module in entry.get("modules", ()))
        and path.relative_to(RUNTIME).as_posix() not in entry["files"]
    ]
    assert elsewhere == []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["library"])
def test_a_library_whose_private_names_are_used_is_held_to_a_minor_version(entry: dict[str, Any]):
    (bound,) = {
        Version(each.version)
        for requirement in _requirements(entry["library"])
        for each in requirement.specifier
        if each.operator == "<"
    }
    # jh2 counts as h2 does not: its major version is what may change.
    assert len(bound.release) == 2 or entry["library"] == "jh2"


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam["library"])
def test_a_seam_has_a_plain_way_a_test_a_switch_and_a_line_in_the_decision(seam: dict[str, Any]):
    assert seam["plain"]
    assert (ROOT / seam["test"]).exists()
    assert seam["switch"] in SWITCHES
    (line,) = [line for line in DECISION.splitlines() if line.startswith(f"| {seam['library']} ")]
    assert seam["test"] in line
    assert f"`{seam['switch']}`" in line
    for requirement in _requirements(seam["library"]):
        assert f"`{requirement.specifier!s}`" in line


def test_every_switch_belongs_to_a_seam():
    assert {seam["switch"] for seam in SEAMS} == set(SWITCHES)


SAMPLE = """
import library
from library import _hidden
from library._inside import name
import importlib

class Ours(library.Theirs):
    def __init__(self):
        self._own = 1

    def use(self, other):
        other._secret = self._own
        getattr(other, "_asked")
        library.configure(_option=1)
        importlib.import_module("library._by_name")
        return other._own, self._inherited, other.public, other.__dunder__
"""


def test_the_search_finds_each_kind_of_private_name_and_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "library").mkdir()
    theirs = (
        "_hidden = 1\ndef configure(**options): ...\nclass Theirs:\n    def _hook(self): self._kept = 1\n"
    )
    (tmp_path / "library" / "__init__.py").write_text(theirs)
    (tmp_path / "library" / "_inside.py").write_text("name = 1\n")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "__init__.py").write_text("")
    overriding = "    def _hook(self): ...\n"
    (tmp_path / "ours" / "module.py").write_text(SAMPLE + overriding)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert sorted(use.name for use in uses(tmp_path / "ours", "ours")) == [
        "_asked",
        "_hook",
        "_inherited",
        "_option",
        "_secret",
        "library._by_name",
        "library._hidden",
        "library._inside.name",
    ]


def _covers(entry: dict[str, Any], use: Use) -> bool:
    return use.file in entry["files"] and use.name in entry["names"]


def _requirements(library: str) -> list[Requirement]:
    texts = [
        *PROJECT["dependencies"],
        *(text for extra in PROJECT["optional-dependencies"].values() for text in extra),
    ]
    return [each for each in map(Requirement, texts) if each.name == library]
