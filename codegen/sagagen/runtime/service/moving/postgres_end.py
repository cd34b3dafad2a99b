"""A service's PostgreSQL database, as an end of a copy."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg

from sagagen.runtime.postgres.connection import LOST, CannotConnect, PgConnection, connect, why_not
from sagagen.runtime.postgres.server import PostgresError
from sagagen.runtime.service.moving import postgres_values
from sagagen.runtime.service.moving.tables import (
    BARRIER,
    BATCH_ROWS,
    OWN,
    OWN_KEYS,
    STORE_KEYS,
    CannotCopy,
    Column,
    Row,
    Table,
)
from sagagen.runtime.service.postgres_store.holding import running_lock
from sagagen.runtime.service.postgres_store.preparing import PostgresScripts, names_of, prepare

_COLUMNS = """
SELECT c.table_name, c.column_name, c.data_type, c.is_nullable = 'NO' AND c.column_default IS NULL
         AND c.is_identity = 'NO' AS is_required,
       coalesce(array_position(i.indkey::int2[], a.attnum), -1) AS at
  FROM information_schema.columns c
  JOIN pg_class t ON t.oid = to_regclass(quote_ident(c.table_schema) || '.' || quote_ident(c.table_name))
  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = c.column_name
  LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indisprimary
 WHERE c.table_schema = $1 AND t.relkind IN ('r', 'p') AND NOT t.relispartition AND c.is_generated = 'NEVER'
 ORDER BY c.table_name, c.ordinal_position
"""
_OWN = {"barrier": BARRIER, "store_key": STORE_KEYS, "own_key": OWN_KEYS}
_COUNTERS = """
SELECT c.table_name, c.column_name, pg_get_serial_sequence(quote_ident($1) || '.' || quote_ident(c.table_name),
       c.column_name) AS sequence
  FROM information_schema.columns c WHERE c.table_schema = $1
   AND pg_get_serial_sequence(quote_ident($1) || '.' || quote_ident(c.table_name), c.column_name) IS NOT NULL
"""
_REFERENCES = """
SELECT conrelid::regclass::text AS place, quote_ident(conname) AS name, condeferrable, condeferred FROM pg_constraint
 WHERE contype = 'f' AND connamespace = to_regnamespace(quote_ident($1)) AND conparentid = 0
"""


class PostgresEnd:
    """Made by `postgres_source` and `postgres_target`; a transaction is open meanwhile."""

    def __init__(self, connection: PgConnection, schema: str, tables_in: str) -> None:
        """`schema` is the barrier's, `tables_in` the service's own; both without quotes."""
        self._connection = connection
        self._schema = schema
        self._tables_in = tables_in

    async def tables(self) -> Mapping[str, Table]:
        """As Source says."""
        own = await self._tables(self._schema)
        found = {_OWN[name]: table for name, table in own.items() if name in _OWN}
        return {**await self._tables(self._tables_in), **found}

    async def _tables(self, schema: str) -> dict[str, Table]:
        columns: dict[str, dict[str, Column]] = {}
        keys: dict[str, list[tuple[int, str]]] = {}
        for row in await self._connection.fetch(_COLUMNS, schema):
            table, name = row["table_name"], row["column_name"]
            columns.setdefault(table, {})[name.lower()] = Column(name, row["data_type"], row["is_required"])
            if row["at"] >= 0:
                keys.setdefault(table, []).append((row["at"], name.lower()))
        return {
            name.lower(): Table(
                f"{_quoted(schema)}.{_quoted(name)}", found, tuple(k for _, k in sorted(keys.get(name, [])))
            )
            for name, found in columns.items()
        }

    async def count(self, table: Table) -> int:
        """As Source says."""
        return await self._connection.fetchval(f"SELECT count(*) FROM {table.name}{self._seen(table)}")

    async def rows(self, table: Table, columns: Sequence[str]) -> AsyncGenerator[Row]:
        """As Source says."""
        names = ", ".join(_quoted(table.columns[name].name) for name in columns)
        query = f"SELECT {names} FROM {table.name}{self._seen(table)}"
        cursor: Any = cast(Any, self._connection).cursor(query, prefetch=BATCH_ROWS)
        async for row in cursor:
            yield tuple(row)

    def _seen(self, table: Table) -> str:
        """Rows that only name a saga's run are this store's own affair."""
        return (
            " WHERE state <> 'OWNER'" if table.name == f"{_quoted(self._schema)}.{_quoted('barrier')}" else ""
        )

    async def watermark(self) -> int:
        """As Source says."""
        return await self._connection.fetchval(
            f"SELECT value FROM {_quoted(self._schema)}.meta WHERE name = 'purged_through_ms'"
        )

    async def numbers_given(self) -> Mapping[str, int]:
        """As Source says."""
        given: dict[str, int] = {}
        for table, _, sequence in await self._counters():
            number = await self._connection.fetchval(f"SELECT last_value FROM {sequence} WHERE is_called")
            if number is not None:
                given[table.lower()] = number
        return given

    async def _counters(self) -> Sequence[tuple[str, str, str]]:
        rows = await self._connection.fetch(_COUNTERS, self._tables_in)
        return [(row["table_name"], row["column_name"], row["sequence"]) for row in rows]

    # -- as a target -----------------------------------------------------------------------------------------------

    async def write(self, table: Table, columns: Sequence[str], rows: AsyncIterator[Row]) -> None:
        """As Target says."""
        schema, _, name = table.name.partition(".")
        try:
            await cast(Any, self._connection).copy_records_to_table(
                _bare(name),
                schema_name=_bare(schema),
                columns=[table.columns[column].name for column in columns],
                records=rows,
            )
        except asyncpg.PostgresError as error:
            raise CannotCopy(f"{name}: PostgreSQL refuses a row: {error}; nothing was copied") from error

    async def set_watermark(self, purged_through_ms: int) -> None:
        """As Target says."""
        await self._connection.execute(
            f"UPDATE {_quoted(self._schema)}.meta SET value = greatest(value, $1) WHERE name = 'purged_through_ms'",
            purged_through_ms,
        )

    async def set_numbers(self, given: Mapping[str, int]) -> None:
        """As Target says."""
        for table, column, sequence in await self._counters():
            place = f"{_quoted(self._tables_in)}.{_quoted(table)}"
            highest = await self._connection.fetchval(f"SELECT max({_quoted(column)}) FROM {place}")
            number = max(highest or 0, given.get(table.lower(), 0))
            if number > 0:
                await self._connection.execute("SELECT setval($1::text::regclass, $2)", sequence, number)

    def fitting(self, column: Column, value: Any) -> Any:
        """As Target says."""
        return postgres_values.fitting(column.type, value)

    async def make_room(self, names: Sequence[str]) -> None:
        """Delete what is in these tables, and let references wait until all of them are filled."""
        tables = await self.tables()
        places = ", ".join(tables[name].name for name in names if name in tables)
        await self._connection.execute(f"TRUNCATE {places}")
        for name in names:
            if name in tables and name not in OWN:
                await self._connection.execute(f"ALTER TABLE {tables[name].name} DISABLE TRIGGER USER")
        for row in await self._connection.fetch(_REFERENCES, self._tables_in):
            await self._connection.execute(
                f"ALTER TABLE {row['place']} ALTER CONSTRAINT {row['name']} DEFERRABLE INITIALLY DEFERRED"
            )

    async def references(self) -> Sequence[tuple[str, str, bool, bool]]:
        rows = await self._connection.fetch(_REFERENCES, self._tables_in)
        return [(r["place"], r["name"], r["condeferrable"], r["condeferred"]) for r in rows]

    async def restore(self, names: Sequence[str], references: Sequence[tuple[str, str, bool, bool]]) -> None:
        """Check references now, and let triggers and references be as they were. Raises CannotCopy."""
        try:
            await self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except asyncpg.IntegrityConstraintViolationError as error:
            raise CannotCopy(f"{error}; nothing was copied") from error
        for place, name, is_deferrable, is_deferred in references:
            how = "DEFERRABLE" if is_deferrable else "NOT DEFERRABLE"
            how += " INITIALLY DEFERRED" if is_deferred else " INITIALLY IMMEDIATE"
            await self._connection.execute(f"ALTER TABLE {place} ALTER CONSTRAINT {name} {how}")
        tables = await self.tables()
        for name in names:
            if name in tables and name not in OWN:
                await self._connection.execute(f"ALTER TABLE {tables[name].name} ENABLE TRIGGER USER")


@asynccontextmanager
async def postgres_source(url: str, service: str) -> AsyncGenerator[PostgresEnd]:
    """One unchanging view of the database, which no replica uses until the block is left. Raises CannotCopy."""
    async with _alone(url, service) as connection:
        end = await _end(connection, service)
        if not await connection.fetchval("SELECT to_regclass($1)", f'"sagagen_{service}".barrier'):
            raise CannotCopy(
                f"the database has no schema sagagen_{service}: the service {service} was never on it"
            )
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield end
        await connection.execute("ROLLBACK")


@asynccontextmanager
async def postgres_target(
    url: str, service: str, scripts: PostgresScripts, wanted: Sequence[str], *, replaces: bool
) -> AsyncGenerator[PostgresEnd]:
    """A database that holds no rows of this service. Leaving commits; an error undoes what was copied.

    `wanted` are the tables that will be written. Raises CannotCopy.
    """
    async with _alone(url, service) as connection:
        end = await _end(connection, service)
        if not replaces:
            await _check_empty(end, service, wanted)
        making = await _connected(url, service)  # its locks are let go by `prepare`
        try:
            await prepare(making, service, scripts)
        except PostgresError as error:
            raise CannotCopy(str(error)) from error
        finally:
            await making.close()
        await connection.execute("BEGIN")
        try:
            references = await end.references()
            await end.make_room(wanted)
            yield end
            await end.restore(wanted, references)
        except BaseException:
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")


@asynccontextmanager
async def _alone(url: str, service: str) -> AsyncGenerator[PgConnection]:
    connection = await _connected(url, service)
    try:
        if not await connection.fetchval(
            "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", running_lock(service)
        ):
            raise CannotCopy(f"the service {service} runs on this database: stop all its replicas first")
        yield connection
        await connection.close()
    except LOST as error:
        raise CannotCopy(f"{why_not(error)}; nothing was copied") from error
    finally:
        connection.terminate()


async def _connected(url: str, service: str) -> PgConnection:
    try:
        return await connect(url, f"sagagen store copy {service}")
    except CannotConnect as error:
        raise CannotCopy(f"the database can't be reached: {error}") from error


async def _end(connection: PgConnection, service: str) -> PostgresEnd:
    tables_in = await connection.fetchval("SELECT current_schema()")
    if tables_in is None:
        raise CannotCopy("the URL's search_path names no schema that is there")
    return PostgresEnd(connection, names_of(service)["schema"].strip('"'), tables_in)


async def _check_empty(end: PostgresEnd, service: str, wanted: Sequence[str]) -> None:
    tables = await end.tables()
    counted = {name: await end.count(tables[name]) for name in wanted if name in tables}
    filled = [f"{name} ({count} rows)" for name, count in counted.items() if count]
    if filled:
        raise CannotCopy(
            f"the database has rows of the service {service} already: {', '.join(filled)}; name another one, or say "
            "--replace to delete them"
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _bare(quoted: str) -> str:
    return quoted[1:-1].replace('""', '"')
