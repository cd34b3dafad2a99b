"""The keys of a log in PostgreSQL, for commands beside its gateways: rotated, and destroyed for one person.

Which gateway encrypts by which key stands in its life, and a key can't be dropped while a life refers to it. So a
rotation that has seen no gateway with an old key, and then drops that key, leaves none that goes on to use it.
"""

from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import TYPE_CHECKING

import asyncpg

from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.postgres.connection import PgConnection, Record
from sagagen.runtime.postgres.server import PostgresError
from sagagen.runtime.postgres_log import schema as sql
from sagagen.runtime.postgres_log.preparing import WHAT
from sagagen.runtime.postgres_log.sealing import ABOUT_SUBJECT, about_saga
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.subjects import OfSubject, StillOpen
from sagagen.runtime.startup import StartupError
from sagagen.runtime.vault.in_postgres import open_vault
from sagagen.runtime.vault.keys import VARIABLE, KeysUnset, KeyWrapper
from sagagen.runtime.vault.rotation import BATCH, Rotated, StillInUse

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import Vault

_S = sql.SCHEMA
_END_EXPIRED = f"UPDATE {_S}.life SET is_over = true WHERE NOT is_over AND until < clock_timestamp()"
_WITH_ANOTHER = (
    f"SELECT name FROM {_S}.life WHERE NOT is_over AND kek IS DISTINCT FROM $1 ORDER BY life LIMIT 1"
)
_OLD = f"""
SELECT number, saga_id, kek, wrapped FROM {_S}.saga WHERE number > $1 AND kek = ANY ($2) ORDER BY number LIMIT {BATCH}
"""
_SET = f"""
UPDATE {_S}.saga SET kek = $1, wrapped = u.wrapped FROM unnest($2::bigint[], $3::bytea[], $4::bytea[])
       AS u (number, before, wrapped)
 WHERE saga.number = u.number AND saga.wrapped = u.before
"""
_OLD_SUBJECTS = (
    f"SELECT number, kek, wrapped FROM {_S}.subject_key WHERE kek = ANY ($1) ORDER BY number LIMIT {BATCH}"
)
_SET_SUBJECT = f"UPDATE {_S}.subject_key SET kek = $1, wrapped = $2 WHERE number = $3 AND wrapped = $4"
_DROP = f"""
WITH over AS (UPDATE {_S}.life SET kek = NULL WHERE is_over AND kek <> $1)
SELECT count(*) FROM {_S}.saga WHERE kek IS NOT NULL AND kek <> $1
"""
_ENTRY = ", ".join(column.name for column in fields(AuditEntry))
_RECORD = (
    f"INSERT INTO {_S}.audit ({_ENTRY}) VALUES "
    f"({', '.join(f'${number}' for number in range(1, len(fields(AuditEntry)) + 1))})"
)


class NotEncryptedThere(StartupError):
    """Nothing of the log is encrypted, so there is no key to destroy."""

    def __init__(self) -> None:
        super().__init__(
            f"{WHAT} is not encrypted: a saga's data are forgotten by destroying a key. Set {VARIABLE} for the "
            "gateways, and `subject:` on the contract's sagas; what was accepted before goes with its retention "
            "(docs/encryption.md)"
        )


async def rotate(connection: PgConnection, wrapper: KeyWrapper) -> Rotated | None:
    """Wrap everything by the first key, beside gateways that run; None where nothing is encrypted.

    May be killed at any time, and given again. Raises StillInUse, KeysMissing or KeyIsAnother.
    """
    used = await _used(connection)
    if not used:
        return None
    await connection.execute(_END_EXPIRED)
    if name := await connection.fetchval(_WITH_ANOTHER, wrapper.first):
        raise StillInUse(
            f"the gateway {name} runs on {WHAT} and was not started with the key {wrapper.first} as the first one: "
            "start each gateway again with the new file, and rotate then"
        )
    vault = await _opened(connection, wrapper)
    old = [kek for kek in used if kek != wrapper.first]
    count = await _rewrap_sagas(connection, vault, old) + await _rewrap_subjects(connection, vault, old)
    own = await connection.fetchrow(f"SELECT kek, wrapped FROM {_S}.own_key")
    if own and own["kek"] != wrapper.first:
        wrapped = vault.rewrapped(own["kek"], own["wrapped"], "own")
        await connection.execute(f"UPDATE {_S}.own_key SET kek = $1, wrapped = $2", wrapper.first, wrapped)
        count += 1
    await _drop(connection, wrapper.first, old)
    return Rotated(count, tuple(old))


async def _used(connection: PgConnection) -> list[str]:
    if not await connection.fetchval("SELECT to_regclass($1)", f"{_S}.store_key"):
        return []
    return [row["kek"] for row in await connection.fetch(f"SELECT kek FROM {_S}.store_key ORDER BY kek")]


async def _rewrap_sagas(connection: PgConnection, vault: "Vault", old: Sequence[str]) -> int:
    count, after = 0, -1
    while rows := await connection.fetch(_OLD, after, old):
        after = rows[-1]["number"]
        wrapped = [vault.rewrapped(row["kek"], row["wrapped"], about_saga(row["saga_id"])) for row in rows]
        numbers, before = [row["number"] for row in rows], [row["wrapped"] for row in rows]
        await connection.execute(_SET, vault.first, numbers, before, wrapped)
        count += len(rows)
    return count


async def _rewrap_subjects(connection: PgConnection, vault: "Vault", old: Sequence[str]) -> int:
    count = 0
    while rows := await connection.fetch(_OLD_SUBJECTS, old):
        for row in rows:
            wrapped = vault.rewrapped(row["kek"], row["wrapped"], ABOUT_SUBJECT)
            await connection.execute(_SET_SUBJECT, vault.first, wrapped, row["number"], row["wrapped"])
        count += len(rows)
    return count


async def _drop(connection: PgConnection, first: str, old: Sequence[str]) -> None:
    still = StillInUse(
        f"a gateway that runs on {WHAT} still encrypts by {', '.join(old)}: start it again with {first} as the first "
        "key, and rotate then"
    )
    if await connection.fetchval(_DROP, first):
        raise still
    try:
        await connection.execute(f"DELETE FROM {_S}.store_key WHERE kek <> $1", first)
    except asyncpg.ForeignKeyViolationError:
        raise still from None


async def sagas_of(connection: PgConnection, subject: str, keys: KeyWrapper | None) -> "Sequence[OfSubject]":
    """All sagas of a subject that the log has, those that were forgotten before too.

    Raises StillOpen, NotEncryptedThere, KeysUnset, KeysMissing or KeyIsAnother.
    """
    return await _sagas_of(connection, (await _vault(connection, keys)).name_of(subject))


async def _vault(connection: PgConnection, keys: KeyWrapper | None) -> "Vault":
    used = await _used(connection)
    if not used:
        raise NotEncryptedThere
    if keys is None:
        raise KeysUnset(WHAT, used)
    return await _opened(connection, keys)


async def _opened(connection: PgConnection, keys: KeyWrapper) -> "Vault":
    """Not while a gateway starts, which may bring a key too."""
    await connection.execute(f"SELECT pg_advisory_lock({sql.LOCK})")
    try:
        vault = await open_vault(connection, _S, keys, WHAT)
    finally:
        await connection.execute(f"SELECT pg_advisory_unlock({sql.LOCK})")
    assert vault is not None, "there are keys"
    return vault


async def _sagas_of(connection: PgConnection, name: bytes) -> "Sequence[OfSubject]":
    found = [_of_subject(record) for record in await connection.fetch(sql.OF_SUBJECT, name)]
    if still_open := [each.saga_id for each in found if each.status.is_open]:
        raise StillOpen(still_open)
    return found


def _of_subject(record: Record) -> OfSubject:
    return OfSubject(record["number"], record["saga_id"], SagaStatus(record["status"]))


async def forget_subject(
    connection: PgConnection, subject: str, keys: KeyWrapper | None, entry: AuditEntry
) -> None:
    """Destroy the subject's key, and what its sagas are found by; `entry` is committed with it, and names nobody.

    Tables whose rows were changed are written anew, since PostgreSQL keeps old versions of a row. Raises StillOpen, and
    what `sagas_of` raises.
    """
    name = (await _vault(connection, keys)).name_of(subject)
    await connection.execute("BEGIN")
    try:
        # From here on no saga of this subject is accepted; whichever was is seen.
        await connection.fetch(sql.LOCK_SUBJECT, name)
        numbers = [each.number for each in await _sagas_of(connection, name)]
        values = await connection.execute(sql.FORGET_VALUES, numbers)
        await connection.execute(sql.FORGET_SUBJECT, name, entry.at_ms)
        await connection.execute(_RECORD, *astuple(entry))
        if await connection.execute("COMMIT") != "COMMIT":
            raise PostgresError(f"{WHAT}: nothing was erased; give the same command again")
    except BaseException:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    await connection.execute(f"VACUUM FULL {_S}.subject_key")
    if values != "UPDATE 0":
        await connection.execute(f"VACUUM FULL {_S}.saga")
