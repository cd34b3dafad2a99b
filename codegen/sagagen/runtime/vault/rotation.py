"""Rotation: all keys of a database are wrapped by the first key, and the others may go.

In batches, beside a process that writes: a batch holds the write lock for some milliseconds. It may be killed at any
time and begins again where keys are left. Which process uses which key is safe by two rules: the first key has to be
known to the database before a process that runs is overtaken, and a key that is still used can't be dropped, since
every wrapped key refers to its store key.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sagagen.runtime.startup import StartupError
from sagagen.runtime.vault.keys import KeyWrapper
from sagagen.runtime.vault.vault import KeyTables, Vault

ResultT = TypeVar("ResultT")

BATCH = 500
"""Keys that are wrapped anew in one transaction."""


class StillInUse(StartupError):
    """A process that runs has not been started with the new key."""


@dataclass(frozen=True, slots=True)
class Rotated:
    rewrapped: int
    dropped: tuple[str, ...]
    """Ids of the keys that this database needs no more."""


def rotate(
    connection: sqlite3.Connection, wrapper: KeyWrapper, tables: KeyTables, name: str, *, is_at_rest: bool
) -> Rotated:
    """Wrap everything by the first key. `connection` commits by itself; `name` is what errors call the database.

    Raises StillInUse, KeysMissing or KeyIsAnother.
    """
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    used = [row[0] for row in connection.execute(tables.store_keys)]
    if wrapper.first not in used and not is_at_rest:
        raise StillInUse(
            f"a process runs on {name} that was not started with the key {wrapper.first} as the first one: start it "
            "again with the new file, and rotate then"
        )
    vault = _in_transaction(connection, lambda: Vault.open(connection, wrapper, tables, name))
    count = 0
    for select, update in tables.rotatable:
        after: int | None = -1
        while after is not None:
            after, rewrapped = _in_transaction(
                connection, partial(_batch, connection, vault, select, update, after)
            )
            count += rewrapped
    old = tuple(kek for kek in used if kek != wrapper.first)
    try:
        _in_transaction(connection, lambda: connection.execute(tables.drop_store_keys, (wrapper.first,)))
    except sqlite3.IntegrityError:
        raise StillInUse(
            f"a process that runs on {name} still encrypts by {', '.join(old)}: start it again with {wrapper.first} as "
            "the first key, and rotate then"
        ) from None
    return Rotated(count, old)


def _batch(
    connection: sqlite3.Connection, vault: Vault, select: str, update: str, after: int
) -> tuple[int | None, int]:
    """The place of the batch's last row, None if it was the last batch; and how many keys were wrapped anew."""
    rows = connection.execute(select, (after, BATCH)).fetchall()
    if not rows:
        return None, 0
    old = [row for row in rows if row[2] is not None and row[2] != vault.first]
    for place, about, kek, wrapped in old:
        connection.execute(update, (vault.first, vault.rewrapped(kek, wrapped, about), place))
    return rows[-1][0], len(old)


def _in_transaction(connection: sqlite3.Connection, work: Callable[[], ResultT]) -> ResultT:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result
