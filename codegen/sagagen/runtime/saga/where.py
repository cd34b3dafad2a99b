"""Conditions over the values by which sagas can be found, as `sagas list --where` has them.

The command line reads an expression into this tree; on its way to a gateway it is JSON. What keeps the sagas turns it
into a query.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
MAX_PARTS = 100
"""Comparisons of one condition."""

Value = str | bool | int


@dataclass(frozen=True, slots=True)
class Comparison:
    """An index value against a constant of its kind; false where the saga has no such value."""

    name: str
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Both:
    parts: "tuple[Where, ...]"


@dataclass(frozen=True, slots=True)
class Either:
    parts: "tuple[Where, ...]"


@dataclass(frozen=True, slots=True)
class Negated:
    part: "Where"


Where = Comparison | Both | Either | Negated


def names_in(where: Where) -> Iterator[str]:
    match where:
        case Comparison(name):
            yield name
        case Negated(part):
            yield from names_in(part)
        case Both(parts) | Either(parts):
            for part in parts:
                yield from names_in(part)


def as_data(where: Where) -> list[object]:
    """For JSON: `["==", "customer", "ann"]`, `["&&", ...]`, `["||", ...]`, `["!", ...]`."""
    match where:
        case Comparison(name, operator, value):
            return [operator, name, value]
        case Negated(part):
            return ["!", as_data(part)]
        case Both(parts):
            return ["&&", *map(as_data, parts)]
        case Either(parts):
            return ["||", *map(as_data, parts)]


def where_of(data: object) -> Where:
    """The reverse. Raises ValueError for anything else."""
    where = _read(data, depth=0)
    if sum(1 for _ in names_in(where)) > MAX_PARTS:
        raise ValueError(f"a condition has at most {MAX_PARTS} comparisons")
    return where


def _read(data: object, depth: int) -> Where:
    if depth > MAX_PARTS:
        raise ValueError("the condition is nested too deeply")
    if not isinstance(data, list):
        raise ValueError("it is no condition")
    match cast(list[object], data):
        case ["!", part]:
            return Negated(_read(part, depth + 1))
        case ["&&", *parts] if parts:
            return Both(tuple(_read(part, depth + 1) for part in parts))
        case ["||", *parts] if parts:
            return Either(tuple(_read(part, depth + 1) for part in parts))
        case [str() as operator, str() as name, str() | bool() | int() as value] if operator in OPERATORS:
            return Comparison(name, operator, value)
        case _:
            raise ValueError("it is no condition")
