"""docs/third-engine.md: the files that it names are there, and what it says of engines and imports holds."""

import re
import tomllib
from typing import Any

import pytest
from stack import REPOSITORY

PAGE = (REPOSITORY / "docs" / "third-engine.md").read_text(encoding="utf-8")
PACKAGE = REPOSITORY / "codegen" / "sagagen"
ROOM = PACKAGE / "runtime" / "restate"
PLACES = (REPOSITORY, PACKAGE, PACKAGE / "runtime", ROOM)
ENGINES = re.compile(r"restate|postgres|temporal", re.IGNORECASE)
FILE = re.compile(r"`((?:[\w.-]+/)*[\w.-]+(?:\.py|\.toml|/))`")


@pytest.mark.parametrize("path", sorted({*FILE.findall(PAGE)}))
def test_what_it_names_is_there(path: str) -> None:
    assert any((place / path).exists() for place in PLACES)


@pytest.mark.parametrize("room", ["edge", "admin", "engine", "saga"])
def test_no_file_of_a_room_that_uses_engines_names_one(room: str) -> None:
    naming = [
        str(file.relative_to(PACKAGE))
        for file in (PACKAGE / "runtime" / room).rglob("*.py")
        if ENGINES.search(file.read_text(encoding="utf-8"))
    ]
    assert not naming


def test_import_linter_keeps_engines_to_process() -> None:
    settings: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        each
        for each in settings["tool"]["importlinter"]["contracts"]
        if "sagagen.runtime.restate" in each.get("protected_modules", ())
    )
    assert contract["protected_modules"] == ["sagagen.runtime.restate", "sagagen.runtime.postgres_log"]
    assert contract["allowed_importers"] == ["sagagen.runtime.process", "sagagen.cli"]


def test_every_file_of_restate_is_counted() -> None:
    counted = set(re.findall(r"`(\w+\.py)`", PAGE[PAGE.index("| of Restate's") :]))
    assert {file.name for file in ROOM.glob("*.py")} - counted == {"__init__.py"}
