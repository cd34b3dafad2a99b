"""What is done once at a service's start: the server is looked at, and the tables are made or changed.

Whichever replica is first does it, under a lock of the database; the others wait, and find it done.
`order.postgres.sql` is idempotent and runs until a numbered change was applied; `order.postgres.001.sql` and so on run
once each, in order. A replica that finds a change it does not have refuses to start: the tables are a later release's.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import structlog

from sagagen.runtime.postgres.connection import CannotConnect, PgConnection
from sagagen.runtime.postgres.server import PostgresError, check_server
from sagagen.runtime.service.postgres_store import ddl
from sagagen.runtime.service.postgres_store.repeating import TABLES as TURNS
from sagagen.runtime.service.store import DatabaseIdentity
from sagagen.runtime.vault.in_postgres import open_vault
from sagagen.runtime.vault.keys import KeyWrapper

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import Vault

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PostgresScripts:
    """The SQL files of a service for PostgreSQL."""

    base_file: Path
    base: str
    change_files: Mapping[int, Path]

    @classmethod
    def read(cls, schema: Path) -> "PostgresScripts":
        """`schema` is the service's file for SQLite, `handlers/order.sql`.

        Raises PostgresError if there is one, and none for PostgreSQL beside it.
        """
        base_file = schema.with_name(f"{schema.stem}.postgres.sql")
        if schema.exists() and not base_file.exists():
            raise PostgresError(
                f"{base_file} is missing: write it, it makes the service's tables in PostgreSQL, as {schema.name} does "
                "in SQLite (docs/postgres.md)"
            )
        changes: dict[int, Path] = {}
        for file in base_file.parent.glob(f"{schema.stem}.postgres.*.sql"):
            number = file.name.removeprefix(f"{schema.stem}.postgres.").removesuffix(".sql")
            if number.isascii() and number.isdigit():
                changes[int(number)] = file
        base = base_file.read_text(encoding="utf-8") if base_file.exists() else ""
        return cls(base_file, base, changes)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a start found out, or made."""

    identity: DatabaseIdentity
    purged_through_ms: int
    role: str
    """The role that handlers' connections take; empty if the server let nobody make one."""
    database: str
    vault: "Vault | None"
    """What the barrier's rows are encrypted by; None: they are not."""


def way_out(error: CannotConnect, service: str) -> str:
    """What to look at where a service's database can't be reached at its start. Says nothing of what a URL holds."""
    variable = f"SAGAGEN_{service.upper()}_DATABASE_URL"
    match error.__cause__:
        case asyncpg.InvalidAuthorizationSpecificationError():
            return f"user and password are those of {variable}, or of the file that {variable}_FILE names"
        case asyncpg.InvalidCatalogNameError():
            return f"make the database (CREATE DATABASE), or name another one in {variable}"
        case ValueError():
            return (
                f"{variable} is not well formed: write postgresql://user:password@host:5432/database, and special "
                "characters as %40"
            )
        case _:
            return f"is its address the one in {variable}?"


async def prepare(
    connection: PgConnection, service: str, scripts: PostgresScripts, keys: KeyWrapper | None = None
) -> Prepared:
    """Raises PostgresError; and KeysUnset, KeysMissing or KeyIsAnother."""
    await check_server(connection, f"service {service}")
    names = names_of(service)
    # Of the session, so that a change may be several transactions; it ends with the connection at the latest.
    await connection.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", names["schema"])
    try:
        return await _prepare(connection, service, scripts, names, keys)
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock_all()")


def names_of(service: str) -> dict[str, str]:
    """How the service's things are called there; names in contracts are lower-case words."""
    return {
        "schema": f'"sagagen_{service}"',
        "literal": f"'sagagen_{service}/'",
        "role": f'"sagagen_{service}_handlers"',
    }


async def _prepare(
    connection: PgConnection,
    service: str,
    scripts: PostgresScripts,
    names: Mapping[str, str],
    keys: KeyWrapper | None,
) -> Prepared:
    try:
        await _make_barrier(connection, service, names)
        await _make_tables(connection, service, scripts, names)
        role = await _grant(connection, service, names)
    except asyncpg.InsufficientPrivilegeError as error:
        raise PostgresError(
            f"service {service}: {error}; its user has to be able to make schemas and tables in this database "
            "(GRANT CREATE ON DATABASE ... TO ...)"
        ) from error
    schema = names["schema"]
    vault = await open_vault(connection, schema, keys, f"the database of service {service}")
    epoch: int = await connection.fetchval(
        f"UPDATE {schema}.meta SET value = value + 1 WHERE name = 'epoch' RETURNING value"
    )
    numbers = {
        row["name"]: row["value"] for row in await connection.fetch(f"SELECT name, value FROM {schema}.meta")
    }
    database: str = await connection.fetchval("SELECT current_database()")
    server = await connection.fetchval("SELECT system_identifier FROM pg_control_system()")
    shared = f"postgresql {server} {database} {numbers['database_id']:x}"
    identity = DatabaseIdentity(numbers["database_id"], epoch, shared)
    return Prepared(identity, numbers["purged_through_ms"], role, database, vault)


async def _make_barrier(connection: PgConnection, service: str, names: Mapping[str, str]) -> None:
    if await connection.fetchval("SELECT to_regclass($1)", f"{names['schema']}.meta"):
        found = await connection.fetchval(
            f"SELECT value FROM {names['schema']}.meta WHERE name = 'barrier_version'"
        )
        if found is not None and found > ddl.VERSION:
            raise PostgresError(
                f"service {service}: the barrier in this database is of version {found}, and this program knows up to "
                f"{ddl.VERSION}: start the newer version again"
            )
    async with _transaction(connection):
        await connection.execute(ddl.TABLES % names)
        for number in range(TURNS):
            await connection.execute(ddl.TURN % {**names, "number": number})
        # Even where it is there, CREATE INDEX waits for the calls of all replicas, and keeps new ones waiting.
        if not await connection.fetchval("SELECT to_regclass($1)", f"{names['schema']}.barrier_started"):
            await connection.execute(ddl.INDEX % names)
        await connection.execute(ddl.FUNCTIONS % names)


async def _make_tables(
    connection: PgConnection, service: str, scripts: PostgresScripts, names: Mapping[str, str]
) -> None:
    changes = f"{names['schema']}.changes"
    done: int = await connection.fetchval(f"SELECT coalesce(max(number), 0) FROM {changes}")
    newest = max(scripts.change_files, default=0)
    if done > newest:
        raise PostgresError(
            f"service {service}: change {done} of its tables is applied, and this release has changes up to {newest}: "
            "start the newer release again"
        )
    if not done:
        await _run(connection, scripts.base_file, scripts.base)
    for number in sorted(number for number in scripts.change_files if number > done):
        file = scripts.change_files[number]
        async with _transaction(connection):
            await _run(connection, file, file.read_text(encoding="utf-8"))
            await connection.execute(f"INSERT INTO {changes} (number) VALUES ($1)", number)


@asynccontextmanager
async def _transaction(connection: PgConnection) -> AsyncGenerator[None]:
    await connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")


async def _run(connection: PgConnection, file: Path, sql: str) -> None:
    try:
        await connection.execute(sql)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidSchemaNameError) as error:
        raise PostgresError(
            f"{file}: {error}; nothing of it was applied: the database's user has to be able to make tables (GRANT "
            "USAGE, CREATE ON SCHEMA public TO ...)"
        ) from error
    except asyncpg.PostgresError as error:
        raise PostgresError(f"{file}: {error}; nothing of it was applied") from error


async def _grant(connection: PgConnection, service: str, names: Mapping[str, str]) -> str:
    """The role of handlers' connections, which has rights on the service's tables alone."""
    tables = await connection.fetchval("SELECT quote_ident(current_schema())")
    known = {**names, "tables": tables}
    try:
        async with _transaction(connection):
            if not await connection.fetchval(
                "SELECT 1 FROM pg_roles WHERE rolname = $1", names["role"].strip('"')
            ):
                await connection.execute(f"CREATE ROLE {names['role']} NOLOGIN")
            await connection.execute(f"GRANT {names['role']} TO CURRENT_USER")
            await connection.execute((ddl.RIGHTS + ddl.HANDLERS_RIGHTS) % known)
            for number in range(TURNS):
                await connection.execute(ddl.TURN_RIGHTS % {**names, "number": number})
    except asyncpg.InsufficientPrivilegeError:
        _logger.warning(
            "the database's user may make no role, so handlers use it too: their SQL is looked at, and nothing else "
            "keeps them from the runtime's tables (ALTER USER ... CREATEROLE)",
            service=service,
        )
        return ""
    return names["role"].strip('"')
