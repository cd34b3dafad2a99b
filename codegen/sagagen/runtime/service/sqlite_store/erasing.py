"""Forgetting sagas in a service's database: what the barrier recorded of them can't be read any more."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from sagagen.runtime.service.sqlite_store.table import ENCRYPTED_SINCE
from sagagen.runtime.startup import StartupError
from sagagen.runtime.vault.erasing import BUSY_S, Wiping, destroy_keys
from sagagen.runtime.vault.keys import VARIABLE

_VERSION = "SELECT value FROM sagagen_meta WHERE name = 'barrier_version'"
_HAS_ROWS = "SELECT 1 FROM sagagen_barrier WHERE saga = ? LIMIT 1"
_KEYS = "SELECT wrapped FROM sagagen_barrier WHERE saga = ? AND kek IS NOT NULL"
_WIPE = (
    "UPDATE sagagen_barrier SET wrapped = zeroblob(length(wrapped)) WHERE saga = ? AND wrapped IS NOT NULL",
    # Of before there were keys. No key opens zeros, so these rows can't be read from then on either.
    "UPDATE sagagen_barrier SET outcome = zeroblob(length(outcome)), sealed = 1 WHERE saga = ? AND sealed IS NULL",
    "UPDATE sagagen_barrier SET kek = NULL WHERE saga = ? AND kek IS NOT NULL",
)
"""In this order: of a row that changes its size another copy could be left, and the key is zeros by then."""


class ServiceNotEncrypted(StartupError):
    """A service has rows of these sagas in the clear."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is not encrypted, and has rows of these sagas: nothing was erased. Start its service with "
            f"{VARIABLE}, and give the same command again"
        )


def check_erasable(path: Path, saga_ids: Sequence[str]) -> None:
    """Raises ServiceNotEncrypted for a database that keeps something of these sagas in the clear for good."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S)) as connection:
        _check(connection, path, saga_ids)


def erase(path: Path, saga_ids: Sequence[str]) -> None:
    """Destroy what the barrier's rows of these sagas are encrypted by, beside the service or at rest.

    Raises ServiceNotEncrypted, and NotEmptied: do it again.
    """

    def wiping(connection: sqlite3.Connection) -> Wiping:
        if not _check(connection, path, saga_ids):
            return Wiping((), ())
        keys = [row[0] for saga_id in saga_ids for row in connection.execute(_KEYS, (saga_id,))]
        return Wiping(keys, [(statement, [(saga_id,) for saga_id in saga_ids]) for statement in _WIPE])

    destroy_keys(path, wiping)


def _check(connection: sqlite3.Connection, path: Path, saga_ids: Sequence[str]) -> bool:
    """Whether the database is encrypted. Raises ServiceNotEncrypted where it is not, and has rows of the sagas."""
    if connection.execute(_VERSION).fetchone()[0] >= ENCRYPTED_SINCE:
        return True
    if any(connection.execute(_HAS_ROWS, (saga_id,)).fetchone() for saga_id in saga_ids):
        raise ServiceNotEncrypted(path)
    return False
