"""The keys of a service's database in PostgreSQL, where it is encrypted: begun, rotated, destroyed."""

from collections.abc import Sequence

import asyncpg

from sagagen.runtime.postgres.connection import PgConnection
from sagagen.runtime.postgres.server import PostgresError
from sagagen.runtime.vault.in_postgres import open_vault
from sagagen.runtime.vault.keys import VARIABLE, KeyWrapper
from sagagen.runtime.vault.rotation import BATCH, Rotated, StillInUse


async def rotate(connection: PgConnection, service: str, wrapper: KeyWrapper) -> Rotated | None:
    """Wrap everything by the first key, beside replicas that run; None where nothing is encrypted.

    May be killed at any time, and given again. Raises StillInUse, KeysMissing or KeyIsAnother.
    """
    schema, name = f'"sagagen_{service}"', f"the database of service {service}"
    if not await connection.fetchval("SELECT to_regclass($1)", f"{schema}.store_key"):
        return None
    used = [row["kek"] for row in await connection.fetch(f"SELECT kek FROM {schema}.store_key")]
    if not used:
        return None
    running = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = ANY($1)",
        [f"sagagen {service}", f"sagagen {service} (reads)", f"sagagen {service} (manual calls)"],
    )
    if wrapper.first not in used and running:
        raise StillInUse(
            f"a process runs on {name} that was not started with the key {wrapper.first} as the first one: start each "
            "replica again with the new file, and rotate then"
        )
    vault = await open_vault(connection, schema, wrapper, name)
    assert vault is not None, "there are keys"
    count = 0
    old = tuple(kek for kek in used if kek != wrapper.first)
    while rows := await connection.fetch(
        f"SELECT saga, step, direction, kek, wrapped FROM {schema}.barrier WHERE kek = ANY($1) LIMIT {BATCH}",
        old,
    ):
        for row in rows:
            about = f"{row['saga']} {row['direction']} {row['step']}"
            await connection.execute(
                f"UPDATE {schema}.barrier SET kek = $1, wrapped = $2 "
                "WHERE saga = $3 AND step = $4 AND direction = $5 AND wrapped = $6",
                wrapper.first,
                vault.rewrapped(row["kek"], row["wrapped"], about),
                *(row["saga"], row["step"], row["direction"], row["wrapped"]),
            )
        count += len(rows)
    own = await connection.fetchrow(f"SELECT kek, wrapped FROM {schema}.own_key")
    if own and own["kek"] != wrapper.first:
        wrapped = vault.rewrapped(own["kek"], own["wrapped"], "own")
        await connection.execute(
            f"UPDATE {schema}.own_key SET kek = $1, wrapped = $2", wrapper.first, wrapped
        )
        count += 1
    try:
        await connection.execute(f"DELETE FROM {schema}.store_key WHERE kek <> $1", wrapper.first)
    except asyncpg.ForeignKeyViolationError:
        raise StillInUse(
            f"a process that runs on {name} still encrypts by {', '.join(old)}: start it again with {wrapper.first} as "
            "the first key, and rotate then"
        ) from None
    return Rotated(count, old)


async def check_erasable(connection: PgConnection, service: str, saga_ids: Sequence[str]) -> bool:
    """Whether there is something to erase. Raises PostgresError where rows of these sagas are in the clear for good."""
    schema = f'"sagagen_{service}"'
    if not await connection.fetchval("SELECT to_regclass($1)", f"{schema}.barrier"):
        return False
    if await connection.fetchval(f"SELECT count(*) FROM {schema}.store_key"):
        return True
    if await connection.fetchval(
        f"SELECT count(*) FROM {schema}.barrier WHERE saga = ANY($1)", list(saga_ids)
    ):
        raise PostgresError(
            f"the database of service {service} is not encrypted, and has rows of these sagas: nothing was erased. "
            f"Start the service with {VARIABLE}, and give the same command again"
        )
    return False


async def erase(connection: PgConnection, service: str, saga_ids: Sequence[str]) -> None:
    """Destroy what the barrier's rows of these sagas are encrypted by, beside the service. May be repeated.

    The table is written anew, since PostgreSQL keeps old versions of a row; calls wait meanwhile. Raises PostgresError.
    """
    if not await check_erasable(connection, service, saga_ids):
        return
    table = f'"sagagen_{service}".barrier'
    ids = list(saga_ids)
    await connection.execute(
        f"UPDATE {table} SET wrapped = '\\x00', kek = NULL WHERE saga = ANY($1) AND wrapped IS NOT NULL", ids
    )
    # Of before there were keys: they can't be read from then on either.
    await connection.execute(
        f"UPDATE {table} SET outcome = '\\x00', sealed = true "
        "WHERE saga = ANY($1) AND sealed IS NOT TRUE AND outcome <> ''",
        ids,
    )
    await connection.execute(f"VACUUM FULL {table}")
