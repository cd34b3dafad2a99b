"""Forgetting a subject: the key is destroyed that all of its sagas' data keys are wrapped by.

What stays is what no person is in: ids, names, times, statuses, and digests that are sealed by the log's own key, so
that a request that comes again is known and has no effect. The values that sagas are found by go as well.
"""

import sqlite3
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.log import schema as sql
from sagagen.runtime.log.audit_table import INSERT_ENTRY
from sagagen.runtime.log.sealing import key_ids, open_vault
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.subjects import OfSubject, StillOpen
from sagagen.runtime.sqlite.database import user_version
from sagagen.runtime.startup import StartupError
from sagagen.runtime.vault.erasing import Wiping, destroy_keys
from sagagen.runtime.vault.keys import VARIABLE, KeyWrapper

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import Vault


class NotEncrypted(StartupError):
    """Nothing of the log is encrypted, so there is no key to destroy."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is not encrypted: a saga's data are forgotten by destroying a key. Set {VARIABLE} for the mesh, "
            "and `subject:` on its sagas; what was accepted before goes with its retention (docs/encryption.md)"
        )


def vault_of(connection: sqlite3.Connection, path: Path, keys: KeyWrapper | None) -> "Vault":
    """The keys of a log in use or at rest. Raises NotEncrypted, and what opening the log raises for keys."""
    if user_version(connection) < max(sql.MIGRATIONS) or not key_ids(connection):
        raise NotEncrypted(path)
    vault = open_vault(connection, keys, str(path), hides=False)
    assert vault, "an encrypted log has a vault, or says what is missing"
    return vault


def sagas_of(connection: sqlite3.Connection, vault: "Vault", subject: str) -> list[OfSubject]:
    """All sagas of a subject that the log has, those that were forgotten before too. Raises StillOpen."""
    found = [
        OfSubject(number, saga_id, SagaStatus(status))
        for number, saga_id, status in connection.execute(sql.SELECT_OF_SUBJECT, (vault.name_of(subject),))
    ]
    if still_open := [each.saga_id for each in found if each.status.is_open]:
        raise StillOpen(still_open)
    return found


def forget_subject(path: Path, vault: "Vault", subject: str, entry: AuditEntry) -> None:
    """Destroy the subject's key, and what its sagas are found by; `entry` is committed with it, and names nobody.

    Raises StillOpen; NotEmptied: do it again.
    """
    name = vault.name_of(subject)

    def wiping(connection: sqlite3.Connection) -> Wiping:
        # In the transaction: a saga that began meanwhile is seen, and one that begins later gets another key.
        numbers = [(each.number,) for each in sagas_of(connection, vault, subject)]
        keys = [row[2] for row in connection.execute(sql.SELECT_SUBJECT_KEY, (name,))]
        # Two statements about the key: of a row that changes its size another copy could be left.
        statements = [
            (sql.DELETE_INDEX, numbers),
            (sql.WIPE_SUBJECT_KEY, [(name,)]),
            (sql.FORGET_SUBJECT_KEY, [(entry.at_ms, name)]),
            (INSERT_ENTRY, [astuple(entry)]),
        ]
        return Wiping(keys, statements)

    destroy_keys(path, wiping)
