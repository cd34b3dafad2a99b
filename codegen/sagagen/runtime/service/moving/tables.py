"""What the two ends of a copy tell each other."""

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from sagagen.runtime.startup import StartupError

BATCH_ROWS = 500
"""Rows that are in memory at a time."""
BARRIER = "sagagen_barrier"
STORE_KEYS, OWN_KEYS = "sagagen_store_key", "sagagen_own_key"
OWN = (STORE_KEYS, OWN_KEYS, BARRIER)
"""The runtime's tables, as both ends call them here."""

Row = Sequence[Any]


class CannotCopy(StartupError):
    """Nothing was copied; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    """As its store has it."""
    type: str
    """As its store calls it, in small letters."""
    is_required: bool
    """It takes no NULL, and has no default."""


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    """As its store has it."""
    columns: Mapping[str, Column]
    """Those that are written, by name in small letters."""
    key: tuple[str, ...]
    """The columns of its primary key, in small letters."""


class Source(Protocol):
    """A service's store that nobody writes to meanwhile."""

    async def tables(self) -> Mapping[str, Table]:
        """By name in small letters; the runtime's as OWN has them."""
        ...

    async def count(self, table: Table) -> int: ...

    def rows(self, table: Table, columns: Sequence[str]) -> AsyncGenerator[Row]:
        """In any order, with the columns in this one; they are named in small letters."""
        ...

    async def watermark(self) -> int:
        """`purged_through_ms` of the barrier."""
        ...

    async def numbers_given(self) -> Mapping[str, int]:
        """Of tables whose rows get numbers by themselves, in small letters: the highest number that was given out."""
        ...


class Target(Source, Protocol):
    """A service's store that is written in one transaction. It holds no row before."""

    async def write(self, table: Table, columns: Sequence[str], rows: AsyncIterator[Row]) -> None:
        """Raises CannotCopy for rows that it refuses."""
        ...

    async def set_watermark(self, purged_through_ms: int) -> None: ...

    async def set_numbers(self, given: Mapping[str, int]) -> None:
        """Numbers given from now on are above those that were given, and those of rows."""
        ...

    def fitting(self, column: Column, value: Any) -> Any:
        """The value as this store takes it. Raises ValueError that says why it can't be."""
        ...


class Digest:
    """Of a set of rows, whatever their order."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._is_json = ["json" in column.type for column in columns]
        self._sum = 0
        self.rows = 0

    def add(self, row: Row) -> None:
        values = zip(row, self._is_json, strict=True)
        text = json.dumps([_parsed(value) if is_json else _canonical(value) for value, is_json in values])
        self._sum += int.from_bytes(hashlib.sha256(text.encode()).digest()[:16])
        self.rows += 1

    @property
    def value(self) -> str:
        return f"{self._sum % 2**128:032x}"


def _parsed(value: Any) -> Any:
    """JSON, whatever its spaces and the order of its names."""
    try:
        return json.dumps(json.loads(value), sort_keys=True)
    except (TypeError, ValueError):
        return _canonical(value)


def _canonical(value: Any) -> Any:
    """The same for values that are the same, though stores may give them another type."""
    match value:
        case None | str():
            return value
        case bytes():
            return ["bytes", value.hex()]
        case bool() | int():
            return ["number", str(int(value))]
        case float() | Decimal():
            return ["number", str(int(value)) if value == value // 1 else repr(float(value))]
        case datetime() if value.tzinfo is not None:
            return ["moment", value.astimezone(UTC).isoformat()]
        case _:
            return str(value)
