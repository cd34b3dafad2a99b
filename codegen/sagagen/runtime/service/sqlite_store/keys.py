"""The keys of a service's database, where it is encrypted."""

import sqlite3
from typing import TYPE_CHECKING

from sagagen.runtime.service.sqlite_store.guard import own
from sagagen.runtime.service.sqlite_store.table import DDL_OF_KEYS, ENCRYPTED_SINCE, read_meta
from sagagen.runtime.vault.keys import KeysUnset, KeyWrapper

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import KeyTables, Vault


def open_vault(connection: sqlite3.Connection, keys: KeyWrapper | None, name: str) -> "Vault | None":
    """None where nothing is encrypted. Raises KeysUnset, KeysMissing or KeyIsAnother.

    From the first time on that there are keys, earlier versions of the runtime refuse the database.
    """
    is_encrypted = read_meta(connection, "barrier_version") >= ENCRYPTED_SINCE
    if keys is None:
        if is_encrypted:
            raise KeysUnset(name, [row[0] for row in connection.execute("SELECT kek FROM sagagen_store_key")])
        return None
    from sagagen.runtime.vault.vault import Vault

    connection.execute("BEGIN IMMEDIATE")
    try:
        if not is_encrypted:
            for statement in DDL_OF_KEYS:
                connection.execute(statement)
        vault = Vault.open(connection, keys, tables(), name)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return vault


def tables() -> "KeyTables":
    """Where a service's database keeps keys. No handler's statement is one of these."""
    from sagagen.runtime.vault.vault import KeyTables

    return KeyTables("sagagen_", {"sagagen_barrier": "saga || ' ' || direction || ' ' || step"}, own)
