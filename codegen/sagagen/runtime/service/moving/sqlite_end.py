"""A service's SQLite file, as an end of a copy."""

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sagagen.runtime.service.moving import sqlite_values
from sagagen.runtime.service.moving.tables import (
    BATCH_ROWS,
    OWN,
    CannotCopy,
    Column,
    Row,
    Table,
)
from sagagen.runtime.service.sqlite_store.sql_files import Scripts, prepare
from sagagen.runtime.service.sqlite_store.table import (
    BARRIER_VERSION,
    DDL_OF_KEYS,
    ENCRYPTED_SINCE,
    read_meta,
)
from sagagen.runtime.sqlite.lock import OwnerLock

_GENERATED = (2, 3)
"""`hidden` of columns that are computed."""


class SqliteEnd:
    """Made by `sqlite_source` and `sqlite_target`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def tables(self) -> Mapping[str, Table]:
        """As Source says."""
        rows = self._connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        )
        names = [name for (name,) in rows if not name.startswith("sagagen_") or name in OWN]
        return {name.lower(): self._table(name) for name in names}

    def _table(self, name: str) -> Table:
        rows = self._connection.execute(
            "SELECT name, type, [notnull], dflt_value, pk FROM pragma_table_xinfo(?) WHERE hidden NOT IN (?, ?)",
            (name, *_GENERATED),
        ).fetchall()
        columns = {
            column.lower(): Column(column, kind.lower(), bool(not_null) and default is None)
            for column, kind, not_null, default, _ in rows
        }
        key = sorted((number, column.lower()) for column, *_, number in rows if number)
        return Table(name, columns, tuple(column for _, column in key))

    async def count(self, table: Table) -> int:
        """As Source says."""
        count: int = self._connection.execute(f"SELECT count(*) FROM {_quoted(table.name)}").fetchone()[0]
        return count

    async def rows(self, table: Table, columns: Sequence[str]) -> AsyncGenerator[Row]:
        """As Source says."""
        names = ", ".join(_quoted(table.columns[name].name) for name in columns)
        cursor = self._connection.execute(f"SELECT {names} FROM {_quoted(table.name)}")
        while batch := cursor.fetchmany(BATCH_ROWS):
            for row in batch:
                yield row

    async def watermark(self) -> int:
        """As Source says."""
        return read_meta(self._connection, "purged_through_ms")

    async def numbers_given(self) -> Mapping[str, int]:
        """As Source says: of tables with AUTOINCREMENT. The others go by the rows that there are."""
        has = self._connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"
        ).fetchone()
        rows = self._connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall() if has else []
        return {name.lower(): number for name, number in rows}

    # -- as a target -----------------------------------------------------------------------------------------------

    async def write(self, table: Table, columns: Sequence[str], rows: AsyncIterator[Row]) -> None:
        """As Target says."""
        names = ", ".join(_quoted(table.columns[name].name) for name in columns)
        places = ", ".join("?" * len(columns))
        insert = f"INSERT INTO {_quoted(table.name)} ({names}) VALUES ({places})"
        try:
            async for row in rows:
                self._connection.execute(insert, row)
        except sqlite3.Error as error:
            raise CannotCopy(f"{table.name}: SQLite refuses a row: {error}; nothing was copied") from error

    async def set_watermark(self, purged_through_ms: int) -> None:
        """As Target says."""
        self._connection.execute(
            "UPDATE sagagen_meta SET value = max(value, ?) WHERE name = 'purged_through_ms'",
            (purged_through_ms,),
        )

    async def set_numbers(self, given: Mapping[str, int]) -> None:
        """As Target says. Without AUTOINCREMENT SQLite goes by the rows that there are."""
        tables = await self.tables()
        for name, number in given.items():
            if name in tables and self._counts(tables[name]):
                place = tables[name].name
                self._connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (place,))
                self._connection.execute(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (place, number)
                )

    def _counts(self, table: Table) -> bool:
        (sql,) = self._connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = ?", (table.name,)
        ).fetchone()
        return "AUTOINCREMENT" in sql.upper()

    def fitting(self, column: Column, value: Any) -> Any:
        """As Target says."""
        return sqlite_values.fitting(column.type, value)

    def keep_keys(self) -> None:
        """Make the tables of keys, if the file has none yet."""
        if read_meta(self._connection, "barrier_version") < ENCRYPTED_SINCE:
            for statement in DDL_OF_KEYS:
                self._connection.execute(statement)


@asynccontextmanager
async def sqlite_source(path: Path) -> AsyncGenerator[SqliteEnd]:
    """A file that is owned until the block is left. Raises CannotCopy, LogLocked."""
    if not _has_rows(path):
        raise CannotCopy(f"there is no file {path}: name the service's database with --from")
    with OwnerLock(path), _opened(path) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sagagen_barrier'").fetchone():
            raise CannotCopy(f"{path} is no service's database: it has no barrier")
        if read_meta(connection, "barrier_version") > BARRIER_VERSION:
            raise CannotCopy(f"{path} was written by a later version of sagagen: copy it with that one")
        connection.execute("BEGIN")
        yield SqliteEnd(connection)
        connection.execute("ROLLBACK")


@asynccontextmanager
async def sqlite_target(path: Path, scripts: Scripts, *, replaces: bool) -> AsyncGenerator[SqliteEnd]:
    """A file that is made, or that holds no row. Leaving commits; an error undoes all, and a new file is removed."""
    with OwnerLock(path):
        is_new = not _has_rows(path)
        if not is_new and not replaces:
            with _opened(path) as connection:
                await _check_empty(path, SqliteEnd(connection))
        try:
            await prepare(path, scripts)
            with _opened(path) as connection:
                connection.execute("PRAGMA foreign_keys = OFF")  # the order of tables is nobody's concern
                connection.execute("BEGIN IMMEDIATE")
                with _without_triggers(connection):
                    for name in (await SqliteEnd(connection).tables()).values():
                        connection.execute(f"DELETE FROM {_quoted(name.name)}")
                    yield SqliteEnd(connection)
                broken = connection.execute("PRAGMA foreign_key_check").fetchone()
                if broken is not None:
                    raise CannotCopy(f"{broken[0]}: a row refers to one of {broken[2]} that is not there")
                connection.execute("COMMIT")
        except BaseException:
            if is_new:
                for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
                    with suppress(FileNotFoundError):
                        file.unlink()
            raise


async def _check_empty(path: Path, end: SqliteEnd) -> None:
    filled = [f"{t.name} ({n} rows)" for t in (await end.tables()).values() if (n := await end.count(t))]
    if filled:
        raise CannotCopy(f"{path} has rows already: {', '.join(filled)}; name another file, or say --replace")


@contextmanager
def _without_triggers(connection: sqlite3.Connection) -> Generator[None]:
    """What they did, they did at the source."""
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {_quoted(name)}")
    yield
    for _, sql in triggers:
        connection.execute(sql)


@contextmanager
def _opened(path: Path) -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        yield connection


def _has_rows(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
