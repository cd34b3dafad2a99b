"""docs/architecture.md names what exists: a newcomer who follows it finds the file."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
PLACES = (
    REPOSITORY,
    REPOSITORY / "codegen/sagagen",
    REPOSITORY / "codegen/sagagen/runtime",
    REPOSITORY / "codegen/sagagen/testing",
    REPOSITORY / "tests",
)

NOT_IN_GIT = {".sagagen_cache/"}
FILE = re.compile(r"`((?:[\w.]+/)*[\w.]+(?:\.py|/))(?: [^`]*)?`")


def named() -> list[str]:
    """What the page names; in a room's own row of files, below the room."""
    found = set[str]()
    for line in PAGE.splitlines():
        room = re.match(r"\| `(\w+/)` \| `[\w/]+\.py`", line)
        found |= {f"{room[1]}{path}" if room and path != room[1] else path for path in FILE.findall(line)}
    return sorted(found - NOT_IN_GIT)


def test_the_page_names_files() -> None:
    assert len(named()) > 100


@pytest.mark.parametrize("path", named())
def test_each_file_and_folder_that_it_names_is_there(path: str) -> None:
    assert any((place / path).exists() for place in PLACES)


def test_its_layers_are_those_that_are_enforced() -> None:
    """The table's rooms stand in the order of import-linter's contract, none is missing."""
    settings: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    rooms = next(each for each in contracts if each["name"] == "The runtime's rooms lie in one order")
    enforced = [{room.strip() for room in layer.split("|")} for layer in rooms["layers"]]
    table = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \| ", line)]
    drawn = [set(re.findall(r"`(\w+)(?:/|\.py)(?:`)", line)) for line in table]
    assert drawn == enforced
