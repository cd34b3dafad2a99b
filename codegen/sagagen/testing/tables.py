"""What the tables of a service hold, and what has changed in them between two moments.

Only the user's own tables count: the barrier's and SQLite's are left out. Texts that hold a saga's id, and columns
whose values differ in each run (a random id, the time of day), are shown by a name instead, so that two runs of the
same saga compare equal.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

Value = str | int | float | bytes | None
"""What SQLite keeps in a cell."""

RUNTIMES_OWN = "sagagen_"
"""How names of tables begin that belong to the runtime."""
_DAY_S = 86_400.0
VOLATILE = "*"
"""Stands for a value that differs in each run."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table at one moment."""

    columns: tuple[str, ...]
    key: tuple[int, ...]
    """Positions of the columns of its primary key; empty if it has none."""
    rows: tuple[tuple[Value, ...], ...]


Tables = Mapping[str, Table]
"""Of one service, by name."""


@dataclass(frozen=True, slots=True, order=True)
class Column:
    """A column of a service's table; in text `payment.payments.payment_id`."""

    service: str
    table: str
    name: str

    def __str__(self) -> str:
        return f"{self.service}.{self.table}.{self.name}"


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row that was added (`before` is None), removed (`after` is None), or changed."""

    service: str
    table: str
    columns: tuple[str, ...]
    key: tuple[int, ...]
    before: tuple[Value, ...] | None
    after: tuple[Value, ...] | None

    def __str__(self) -> str:
        return f"{self.service}.{self.table} {self._what()}"

    def _what(self) -> str:
        if self.before is None:
            return f"+ {self._cells(self.after or ())}"
        if self.after is None:
            return f"- {self._cells(self.before)}"
        changed = [n for n in range(len(self.columns)) if self.before[n] != self.after[n]]
        which = " ".join(f"{self.columns[n]}={shown(self.before[n])}" for n in self.key)
        cells = ", ".join(
            f"{self.columns[n]} {shown(self.before[n])} -> {shown(self.after[n])}" for n in changed
        )
        return f"~ {which}: {cells}"

    def _cells(self, row: Sequence[Value]) -> str:
        return " ".join(f"{name}={shown(cell)}" for name, cell in zip(self.columns, row, strict=True))

    def holds(self, text: str) -> bool:
        """Whether a cell of the row, before or after, has this text in it."""
        return any(
            isinstance(cell, str) and text in cell for row in (self.before, self.after) for cell in row or ()
        )

    def cells(self) -> Iterator[tuple[str, Value, Value]]:
        """Name of a column, its value before, and after."""
        nothing: tuple[Value, ...] = (None,) * len(self.columns)
        yield from zip(self.columns, self.before or nothing, self.after or nothing, strict=True)


def tables_of(db: sqlite3.Connection) -> Tables:
    """The user's tables in a service's database, with all their rows in a fixed order."""
    names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    return {
        name: _table(db, name)
        for (name,) in map(tuple, names)
        if not name.startswith(("sqlite_", RUNTIMES_OWN))
    }


def _table(db: sqlite3.Connection, name: str) -> Table:
    quoted = name.replace('"', '""')
    about = [tuple(row) for row in db.execute(f'PRAGMA table_info("{quoted}")')]
    columns = tuple(str(row[1]) for row in about)
    key = tuple(position for _, position in sorted((row[5], n) for n, row in enumerate(about) if row[5]))
    rows = sorted((tuple(row) for row in db.execute(f'SELECT * FROM "{quoted}"')), key=_ordered)
    return Table(columns, key, tuple(rows))


def difference(
    service: str, before: Tables, after: Tables, volatile: frozenset[Column] = frozenset()
) -> tuple[RowChange, ...]:
    """What has changed in a service's tables, in the order of tables and rows.

    Rows are matched by their primary key; without one a changed row is one that is gone and one that is new. A change
    of volatile columns alone is none.
    """
    found: list[RowChange] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is not None and new is not None and old.rows == new.rows:
            continue
        found += _changes(service, name, old, new)
    masked = [masked_change(change, volatile) for change in found]
    return tuple(sorted((change for change in masked if change.before != change.after), key=_change_order))


def _changes(service: str, name: str, old: Table | None, new: Table | None) -> Iterator[RowChange]:
    table = new or old
    assert table is not None, "one of both is there"
    before, after = old.rows if old else (), new.rows if new else ()
    gone, added = Counter(before) - Counter(after), Counter(after) - Counter(before)
    by_key = {_key(table, row): row for row in added.elements()} if table.key else {}
    for row in gone.elements():
        now = by_key.pop(_key(table, row), None) if table.key else None
        yield RowChange(service, name, table.columns, table.key, row, now)
    for row in by_key.values() if table.key else added.elements():
        yield RowChange(service, name, table.columns, table.key, None, row)


def _key(table: Table, row: tuple[Value, ...]) -> tuple[Value, ...]:
    return tuple(row[n] for n in table.key)


def masked_change(change: RowChange, volatile: frozenset[Column]) -> RowChange:
    """The same change, with `*` for what differs in each run."""
    hidden = {
        n for n, name in enumerate(change.columns) if Column(change.service, change.table, name) in volatile
    }
    if not hidden:
        return change
    return replace(change, before=_masked(change.before, hidden), after=_masked(change.after, hidden))


def _masked(row: tuple[Value, ...] | None, hidden: set[int]) -> tuple[Value, ...] | None:
    return row and tuple(VOLATILE if n in hidden and cell is not None else cell for n, cell in enumerate(row))


def named(changes: Iterable[RowChange], names: Mapping[str, str]) -> tuple[RowChange, ...]:
    """The same changes, with names for texts that are random: `{saga_id: "<saga>"}`."""

    def of_row(row: tuple[Value, ...] | None) -> tuple[Value, ...] | None:
        return row and tuple(_renamed(cell, names) for cell in row)

    renamed = (replace(each, before=of_row(each.before), after=of_row(each.after)) for each in changes)
    return tuple(sorted(renamed, key=_change_order))


def _renamed(cell: Value, names: Mapping[str, str]) -> Value:
    if isinstance(cell, str):
        for text, name in names.items():
            cell = cell.replace(text, name)
    return cell


def volatile_columns(first: Iterable[RowChange], second: Iterable[RowChange]) -> frozenset[Column]:
    """Columns whose values differ between two runs of the same saga."""
    cells, others = _values(first), _values(second)
    return frozenset(column for column in {*cells, *others} if cells[column] != others[column])


def _values(changes: Iterable[RowChange]) -> Mapping[Column, "Counter[tuple[Value, Value]]"]:
    found: dict[Column, Counter[tuple[Value, Value]]] = {}
    for change in changes:
        for name, before, after in change.cells():
            found.setdefault(Column(change.service, change.table, name), Counter())[before, after] += 1
    return _Counters(found)


class _Counters(dict[Column, "Counter[tuple[Value, Value]]"]):
    def __missing__(self, column: Column) -> "Counter[tuple[Value, Value]]":
        return Counter()


def clock_columns(changes: Iterable[RowChange], now_s: float | None = None) -> frozenset[Column]:
    """Columns that hold the time of day, by the clock on the wall, as a text or a number.

    Two runs of one second, or of one day, may have the same. A time that the runtime gave is of the virtual clock.
    """
    now_s = time.time() if now_s is None else now_s
    days = tuple(time.strftime("%Y-%m-%d", clock(now_s)) for clock in (time.gmtime, time.localtime))
    return frozenset(
        Column(change.service, change.table, name)
        for change in changes
        for name, _, after in change.cells()
        if _is_now(after, now_s, days)
    )


def _is_now(cell: Value, now_s: float, days: tuple[str, ...]) -> bool:
    if isinstance(cell, str):
        return any(day in cell for day in days)
    if isinstance(cell, int | float):
        return any(abs(cell / per_s - now_s) < _DAY_S for per_s in (1, 10**3, 10**6, 10**9))
    return False


def changed(changes: Iterable[RowChange], volatile: frozenset[Column]) -> list[RowChange]:
    """The changes that are more than one of volatile columns, masked."""
    masked = (masked_change(change, volatile) for change in changes)
    return [change for change in masked if change.before != change.after]


def shown(cell: Value) -> str:
    """A cell in words: NULL, a number, a text without quotes where it needs none."""
    if cell is None:
        return "NULL"
    if isinstance(cell, bytes):
        return f"x'{cell.hex()}'"
    if isinstance(cell, str):
        is_plain = cell.isprintable() and cell and not any(each in cell for each in " '=,")
        return cell if is_plain else repr(cell)
    return str(cell)


def _ordered(row: Sequence[Value]) -> list[tuple[str, str]]:
    """Cells of different types in one order."""
    return [(type(cell).__name__, f"{cell:>24}" if isinstance(cell, int) else str(cell)) for cell in row]


def _change_order(change: RowChange) -> tuple[str, str, list[tuple[str, str]]]:
    return change.service, change.table, _ordered((*(change.before or ()), *(change.after or ())))
