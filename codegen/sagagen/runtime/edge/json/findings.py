"""What is wrong with a JSON value, found while it is walked: each mistake with its place, and an end to the walk.

A body costs its sender a byte a mistake and us a thousand times as much, so nothing is collected that is not shown.
"""

import json
from typing import Any, TypeAlias, cast

from sagagen.runtime.messages.parts import MAX_DEPTH, MAX_PARTS, TOO_MANY_PARTS
from sagagen.runtime.rpc.errors import MAX_VIOLATIONS, FieldViolation

Piece: TypeAlias = "str | int | tuple[str]"
"""A member's name, an element's index, or the key of a map's entry."""
Path: TypeAlias = "tuple[Any, Piece] | None"
"""Where a value stands: its last piece, behind those that lead to it. Written as text only if something is wrong."""

RULE = "json"
"""Rule id of every violation of a shape."""


class JsonError(ValueError):
    """JSON that is none, or does not fit the message."""

    def __init__(self, violations: "list[FieldViolation]") -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = tuple(violations)


class EnoughFound(Exception):
    """No more mistakes are shown, so no more are looked for."""


class Findings:
    """The mistakes of one value, and how much of it may still be looked at."""

    def __init__(self) -> None:
        self.violations: list[FieldViolation] = []
        self.parts = 0
        """Messages, entries of maps, and values in a Struct, that were looked at."""
        self.depth = 0
        """How many messages of the encoded form hold the value that is looked at."""

    def add(self, path: Path, description: str, rule: str = RULE) -> None:
        """Raises EnoughFound once there are as many as a problem document shows."""
        self.violations.append(FieldViolation(text_of(path), description, rule))
        if len(self.violations) >= MAX_VIOLATIONS:
            raise EnoughFound

    def enter(self, levels: int = 1) -> None:
        """Begin to look at a part. Raises JsonError where there are too many, or too many in one another."""
        self.count(1)
        self.depth += levels
        if self.depth > MAX_DEPTH:
            raise JsonError([FieldViolation("", "the JSON is nested too deeply", RULE)])

    def count(self, parts: int) -> None:
        """Raises JsonError where there are too many."""
        self.parts += parts
        if self.parts > MAX_PARTS:
            raise JsonError([FieldViolation("", TOO_MANY_PARTS, RULE)])

    def leave(self, levels: int = 1) -> None:
        self.depth -= levels


def report(findings: Findings, path: Path, description: str) -> None:
    """Add a violation of the shape; `description` goes on where the path ends."""
    findings.add(path, description)


def text_of(path: Path) -> str:
    """`items[0].labels["red"]`, in proto field names."""
    pieces: list[Piece] = []
    while path:
        pieces.append(path[1])
        path = cast(Path, path[0])
    text = ""
    for piece in reversed(pieces):
        if isinstance(piece, str):
            text = f"{text}.{_name(piece)}" if text else _name(piece)
        else:
            text += f"[{piece}]" if isinstance(piece, int) else f"[{shown(piece[0])}]"
    return text


def _name(name: str) -> str:
    """A member's name as part of a path: bare where it reads as one."""
    return name if name.isidentifier() and len(name) <= 60 else shown(name)


def shown(value: object) -> str:
    """A value of the client's, short enough for a message."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value[:61] if isinstance(value, str) else value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
