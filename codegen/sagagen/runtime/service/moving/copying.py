"""The copy itself: tables that fit each other, rows, numbers, the watermark; and then a look at what has arrived."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass

from sagagen.runtime.service.moving.tables import (
    BARRIER,
    OWN,
    CannotCopy,
    Digest,
    Row,
    Source,
    Table,
    Target,
)

TOLD_ROWS = 10_000
"""Every so many rows somebody is told how far it is."""
_SEALED = ("sealed", "kek", "wrapped")


@dataclass(frozen=True, slots=True)
class Copied:
    """A table that has arrived."""

    table: str
    rows: int
    digest: str
    """The same at both ends, whatever the order of rows."""


Told = Callable[[str, int, int], None]
"""Of a table how many of how many rows were copied."""


async def copy(source: Source, target: Target, told: Told) -> Sequence[Copied]:
    """Copy all tables of `source` into those of `target`, and compare. Nothing is committed here.

    Raises CannotCopy.
    """
    origin, place = await source.tables(), await target.tables()
    wanted = await wanted_tables(source)
    columns = {name: await _columns(name, source, origin[name], place.get(name)) for name in wanted}
    copied = [
        await _copy_table(name, source, target, (origin[name], place[name]), columns[name], told)
        for name in wanted
    ]
    await target.set_numbers(await source.numbers_given())
    await target.set_watermark(await source.watermark())
    if await target.watermark() < await source.watermark():
        raise CannotCopy("the barrier's watermark did not arrive; nothing was copied")
    return copied


async def wanted_tables(source: Source) -> Sequence[str]:
    """The runtime's tables first. Those of keys are left out while they are empty."""
    tables = await source.tables()
    own = [name for name in OWN if name in tables and (name == BARRIER or await source.count(tables[name]))]
    return [*own, *sorted(name for name in tables if name not in OWN)]


async def _columns(name: str, source: Source, origin: Table, place: Table | None) -> Sequence[str]:
    """Those that are copied. Raises CannotCopy where the tables do not fit each other."""
    if place is None and name in OWN:
        raise CannotCopy(
            "what the source records is encrypted, and the target keeps no keys: nothing was copied"
        )
    if place is None:
        raise CannotCopy(
            f"the table {name} has no counterpart at the target: its SQL file has to make it, under the same name"
        )
    found = list(origin.columns)
    if name == BARRIER:
        found = [column for column in found if column in place.columns or column not in _SEALED]
        if len(found) < len(origin.columns):
            await _check_clear(source, origin)
    missing = [column for column in found if column not in place.columns]
    if missing:
        raise CannotCopy(
            f"{name}: the column {missing[0]} has no counterpart at the target; there are: {', '.join(place.columns)}"
        )
    unfilled = [
        column for column, is_ in place.columns.items() if is_.is_required and column not in origin.columns
    ]
    if unfilled:
        raise CannotCopy(
            f"{name}: the target's column {unfilled[0]} takes no NULL, and the source has no such column"
        )
    return found


async def _check_clear(source: Source, barrier: Table) -> None:
    async for row in source.rows(barrier, ["sealed"]):
        if row[0]:
            raise CannotCopy(
                "what the barrier records is encrypted, and the target can't keep it: nothing was copied"
            )


async def _copy_table(
    name: str,
    source: Source,
    target: Target,
    tables: tuple[Table, Table],
    columns: Sequence[str],
    told: Told,
) -> Copied:
    origin, place = tables
    total = await source.count(origin)
    into = [place.columns[column] for column in columns]
    sent, arrived = Digest(into), Digest(into)
    await target.write(place, columns, _fitted(name, source, target, tables, columns, sent, total, told))
    async for row in target.rows(place, columns):
        arrived.add(row)
    if (total, sent.rows, sent.value) != (arrived.rows, arrived.rows, arrived.value):
        raise CannotCopy(
            f"{name}: {total} rows were read and {arrived.rows} arrived, or not as they were; nothing was copied"
        )
    told(name, total, total)
    return Copied(name, total, sent.value)


async def _fitted(
    name: str,
    source: Source,
    target: Target,
    tables: tuple[Table, Table],
    columns: Sequence[str],
    digest: Digest,
    total: int,
    told: Told,
) -> AsyncGenerator[Row]:
    """The source's rows as the target takes them."""
    origin, place = tables
    into = [place.columns[column] for column in columns]
    async for row in source.rows(origin, columns):
        try:
            fitted = tuple(target.fitting(column, value) for column, value in zip(into, row, strict=True))
        except ValueError:
            raise CannotCopy(_misfit(name, target, (origin, place), columns, row, digest.rows + 1)) from None
        digest.add(fitted)
        if digest.rows % TOLD_ROWS == 0:
            told(name, digest.rows, total)
        yield fitted


def _misfit(
    name: str, target: Target, tables: tuple[Table, Table], columns: Sequence[str], row: Row, number: int
) -> str:
    """Which value of which row does not fit, and why."""
    origin, place = tables
    values: Mapping[str, object] = dict(zip(columns, row, strict=True))
    for column, value in values.items():
        try:
            target.fitting(place.columns[column], value)
        except ValueError as why:
            key = ", ".join(f"{part} = {values[part]!r}" for part in origin.key if part in values)
            which = f"the row with {key}" if key else f"row {number}"
            return f"{name}: {column} of {which} {why}; nothing was copied"
    raise AssertionError("a value did not fit")
