"""Finds the line of the contract that is about a step, for a person to open."""

import re
from collections.abc import Iterator
from pathlib import Path

from sagagen.workspace.project import ProjectNotFound, find_root

CONTRACT = Path("contracts") / "saga.yaml"
KEPT = Path("contracts") / "sagas"
_VERSION = re.compile(r"\s*version\s*:\s*(?P<version>\d+)\s*(#.*)?$")


def place_in_contract(saga: str, version: int, step: str) -> str:
    """`contracts/saga.yaml:42` in the current project; empty if it is not found.

    Of an older version, it is in the file that keeps it. Read by its layout and not as YAML, since the base install has
    no reader that knows lines: block style, as the contract is written everywhere.
    """
    try:
        root = find_root(None)
        kept = KEPT / f"{saga}.v{version}.yaml"
        path = kept if (root / kept).is_file() else CONTRACT
        lines = (root / path).read_text().splitlines()
    except (ProjectNotFound, OSError, ValueError):
        return ""
    number = line_in(lines, step) if path == kept else line_of_step(lines, saga, version, step)
    return f"{path}:{number}" if number else ""


def line_in(lines: list[str], step: str) -> int:
    """The line of a kept version's file, from 1; 0 if there is none."""
    return _line(enumerate(lines, 1), step)


def line_of_step(lines: list[str], saga: str, version: int, step: str) -> int:
    """The line of saga.yaml, from 1; 0 if there is none, or if it is about another version."""
    of_saga = list(_of_saga(lines, saga))
    versions = [int(found["version"]) for _, line in of_saga if (found := _VERSION.match(line))]
    return _line(iter(of_saga), step) if versions[:1] in ([], [version]) else 0


def _line(lines: Iterator[tuple[int, str]], step: str) -> int:
    names = re.compile(rf"\s*(-\s*)?(\{{\s*)?name\s*:\s*[\"']?{re.escape(step)}[\"']?\s*(,.*|#.*)?$")
    return next((number for number, line in lines if step and names.match(line)), 0)


def _of_saga(lines: list[str], saga: str) -> Iterator[tuple[int, str]]:
    """The lines below the saga's name."""
    begins = re.compile(rf"(\s+)[\"']?{re.escape(saga)}[\"']?\s*:\s*(#.*)?$")
    depth: int | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        if depth is not None and indent <= depth:
            depth = None
        if depth is None and (found := begins.match(line)):
            depth = len(found[1])
        elif depth is not None:
            yield number, line
