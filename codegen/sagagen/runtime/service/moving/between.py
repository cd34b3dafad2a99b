"""From one store to the other: who is opened first, and what of each SQL file has to be there."""

from collections.abc import Sequence
from pathlib import Path

from sagagen.runtime.service.moving.copying import Copied, Told, copy, wanted_tables
from sagagen.runtime.service.moving.postgres_end import postgres_source, postgres_target
from sagagen.runtime.service.moving.sqlite_end import sqlite_source, sqlite_target
from sagagen.runtime.service.moving.tables import OWN_KEYS, STORE_KEYS
from sagagen.runtime.service.postgres_store.preparing import PostgresScripts
from sagagen.runtime.service.sqlite_store.sql_files import Scripts


async def to_postgres(
    service: str, file: str, url: str, schema: Path, told: Told, *, replaces: bool
) -> Sequence[Copied]:
    """Copy a SQLite file to a database. `schema` is `handlers/order.sql`. Raises StartupError."""
    scripts = PostgresScripts.read(schema)
    async with sqlite_source(Path(file)) as source:
        wanted = await wanted_tables(source)
        async with postgres_target(url, service, scripts, wanted, replaces=replaces) as target:
            return await copy(source, target, told)


async def to_sqlite(
    service: str, url: str, file: str, schema: Path, told: Told, *, replaces: bool
) -> Sequence[Copied]:
    """Copy a database to a SQLite file. `schema` is `handlers/order.sql`. Raises StartupError."""
    scripts = Scripts.read(schema)
    async with postgres_source(url, service) as source:
        wanted = await wanted_tables(source)
        async with sqlite_target(Path(file), scripts, replaces=replaces) as target:
            if {STORE_KEYS, OWN_KEYS} & set(wanted):
                target.keep_keys()
            return await copy(source, target, told)
