"""Finds the line of the contract that is about a step, for a person to open."""

import re
from pathlib import Path

from sagagen.workspace.project import ProjectNotFound, find_root

CONTRACT = Path("contracts") / "saga.yaml"


def place_in_contract(saga: str, step: str) -> str:
    """`contracts/saga.yaml:42` in the current project; empty if it is not found.

    Read by its layout and not as YAML, since the base install has no reader that knows lines: block style, as the
    contract is written everywhere. It is today's contract, whatever version the saga runs on.
    """
    try:
        lines = (find_root(None) / CONTRACT).read_text().splitlines()
    except (ProjectNotFound, OSError, UnicodeDecodeError):
        return ""
    number = line_of_step(lines, saga, step)
    return f"{CONTRACT}:{number}" if number else ""


def line_of_step(lines: list[str], saga: str, step: str) -> int:
    """The line, from 1; 0 if there is none."""
    begins = re.compile(rf"(\s+)[\"']?{re.escape(saga)}[\"']?\s*:\s*(#.*)?$")
    names = re.compile(rf"\s*-?\s*name\s*:\s*[\"']?{re.escape(step)}[\"']?\s*(#.*)?$")
    depth: int | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        if depth is not None and indent <= depth:
            depth = None
        if depth is None and (found := begins.match(line)):
            depth = len(found[1])
        elif depth is not None and names.match(line):
            return number
    return 0
