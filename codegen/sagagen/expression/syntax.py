"""The syntax tree of an expression, before any name in it is looked up. Offsets are into the expression's text."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class LiteralKind(StrEnum):
    INT = "int"
    UINT = "uint"
    DOUBLE = "double"
    STRING = "string"
    BYTES = "bytes"
    BOOL = "bool"
    NULL = "null"


@dataclass(frozen=True, slots=True)
class Literal:
    at: int
    kind: LiteralKind
    value: int | float | str | bytes | bool | None


@dataclass(frozen=True, slots=True)
class Name:
    at: int
    name: str
    is_absolute: bool = False
    """Written with a leading dot: a full name, never a variable."""

    @property
    def name_at(self) -> int:
        return self.at


@dataclass(frozen=True, slots=True)
class Select:
    at: int
    operand: "Syntax"
    name: str
    name_at: int


@dataclass(frozen=True, slots=True)
class Index:
    at: int
    operand: "Syntax"
    index: "Syntax"


@dataclass(frozen=True, slots=True)
class Call:
    """`name(arguments)`, or `receiver.name(arguments)`."""

    at: int
    name: str
    name_at: int
    receiver: "Syntax | None"
    arguments: tuple["Syntax", ...]


@dataclass(frozen=True, slots=True)
class Init:
    """`name: value` in a construction."""

    at: int
    name: str
    value: "Syntax"


@dataclass(frozen=True, slots=True)
class Construct:
    at: int
    type_name: "Syntax"
    inits: tuple[Init, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    at: int
    items: tuple["Syntax", ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    at: int
    entries: tuple[tuple["Syntax", "Syntax"], ...]


@dataclass(frozen=True, slots=True)
class Unary:
    at: int
    operator: str
    operand: "Syntax"


@dataclass(frozen=True, slots=True)
class Binary:
    at: int
    operator: str
    operator_at: int
    left: "Syntax"
    right: "Syntax"


@dataclass(frozen=True, slots=True)
class Ternary:
    at: int
    condition: "Syntax"
    then: "Syntax"
    otherwise: "Syntax"


Syntax: TypeAlias = (
    Literal | Name | Select | Index | Call | Construct | ListOf | MapOf | Unary | Binary | Ternary
)


def dotted(node: Syntax) -> tuple[Name | Select, ...] | None:
    """The parts of `a.b.c` from the left, or None if the node is anything but names joined by dots."""
    if isinstance(node, Name):
        return (node,)
    if isinstance(node, Select) and (rest := dotted(node.operand)) is not None:
        return (*rest, node)
    return None


def spelled(parts: tuple[Name | Select, ...]) -> str:
    return ".".join(part.name for part in parts)
