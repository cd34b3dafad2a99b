"""What is done once at a gateway's start: the server is looked at, and the tables are made."""

import asyncpg

from sagagen.runtime.postgres.connection import PgConnection
from sagagen.runtime.postgres.server import PostgresError, check_server
from sagagen.runtime.postgres_log import schema as sql
from sagagen.runtime.postgres_log.sealing import Sealing
from sagagen.runtime.vault.in_postgres import open_vault
from sagagen.runtime.vault.keys import KeysUnset, KeyWrapper

WHAT = "the saga log (SAGAGEN_ENGINE_URL)"


async def prepare(connection: PgConnection, project: str, keys: KeyWrapper | None = None) -> Sealing:
    """Whichever gateway is first makes the tables; the others wait, and find them. Raises PostgresError.

    `project` is whose sagas they are: those of another one are left alone. `keys` are by what the log is encrypted;
    raises KeysUnset, KeysMissing or KeyIsAnother.
    """
    await check_server(connection, WHAT)
    await connection.execute(f"SELECT pg_advisory_lock({sql.LOCK})")
    try:
        await _make(connection, project)
        return Sealing(await open_vault(connection, sql.SCHEMA, keys, WHAT))
    except asyncpg.InsufficientPrivilegeError as error:
        raise PostgresError(
            f"{WHAT}: {error}; its user has to be able to make a schema in this database "
            "(GRANT CREATE ON DATABASE ... TO ...)"
        ) from error
    finally:
        if not connection.is_closed():
            await connection.execute(f"SELECT pg_advisory_unlock({sql.LOCK})")


async def _make(connection: PgConnection, project: str) -> None:
    if await connection.fetchval("SELECT to_regclass($1)", f"{sql.SCHEMA}.meta"):
        known = {
            row["name"]: row["value"] for row in await connection.fetch(f"SELECT * FROM {sql.SCHEMA}.meta")
        }
        if (found := int(known.get("version", sql.VERSION))) > sql.VERSION:
            raise PostgresError(
                f"{WHAT}: its tables are of version {found}, and this program knows up to {sql.VERSION}: "
                "start the newer version again"
            )
        if (owner := known.get("project", project)) != project:
            raise PostgresError(
                f'{WHAT}: the database has the sagas of project "{owner}", and this is "{project}": '
                "give each project a database of its own"
            )
        if found == sql.VERSION and known:
            return
    # One string is one transaction.
    await connection.execute(sql.TABLES + sql.SINCE_2 + sql.SINCE_3)
    await connection.execute(
        f"INSERT INTO {sql.SCHEMA}.meta VALUES ('version', $1), ('project', $2) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        str(sql.VERSION),
        project,
    )


async def sealing_beside(connection: PgConnection, keys: KeyWrapper | None) -> Sealing:
    """How a log is encrypted, for whoever only looks at it. Raises PostgresError, KeysMissing or KeyIsAnother."""
    if await connection.fetchval(sql.FIND_META) is None:
        raise PostgresError("this database has no saga log: no gateway has been started on it")
    version = int(await connection.fetchval(f"SELECT value FROM {sql.SCHEMA}.meta WHERE name = 'version'"))
    if version != sql.VERSION:
        raise PostgresError(
            f"{WHAT}: its tables are of version {version}, and this program looks at version {sql.VERSION}: use the "
            "release that the gateways have"
        )
    used = await connection.fetch(f"SELECT kek FROM {sql.SCHEMA}.store_key")
    if not used:
        return Sealing(hides=True)
    if keys is None:
        return Sealing(hides=True, unset=KeysUnset(WHAT, [row["kek"] for row in used]))
    return Sealing(await open_vault(connection, sql.SCHEMA, keys, WHAT))
