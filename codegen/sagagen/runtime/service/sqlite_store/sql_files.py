"""A service's tables: `handlers/<service>.sql`, then numbered changes beside it, then the barrier's own.

`order.sql` is idempotent and runs at each start, until a numbered change was applied. `order.001.sql`, `order.002.sql`
and so on run once each, in order; the database's `PRAGMA user_version` is the last one's number. From then on
`order.sql` only makes new databases, since it may bring back what a change has renamed or dropped.
"""

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sagagen.runtime.service.sqlite_store.keys import open_vault
from sagagen.runtime.service.sqlite_store.table import BARRIER_VERSION, DDL, read_meta
from sagagen.runtime.service.store import DatabaseIdentity
from sagagen.runtime.sqlite.database import (
    Database,
    DatabaseError,
    DatabaseTooNew,
    OpenDatabase,
    user_version,
)
from sagagen.runtime.sqlite.disk_errors import is_of_the_system
from sagagen.runtime.vault.keys import KeyWrapper

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import Vault


class SchemaFailed(DatabaseError):
    """SQLite refuses a service's SQL file."""

    def __init__(self, file: Path, error: sqlite3.Error) -> None:
        super().__init__(f"{file}: {error}; nothing of it was applied")


@dataclass(frozen=True, slots=True)
class Scripts:
    """The SQL files of a service."""

    base_file: Path
    base: str
    """Empty if there is no such file."""
    change_files: Mapping[int, Path]
    changes: Mapping[int, str]

    @classmethod
    def read(cls, base_file: Path) -> "Scripts":
        """`base_file` is `handlers/order.sql`; the changes lie beside it."""
        files = _numbered(base_file)
        base = _text(base_file) if base_file.exists() else ""
        return cls(base_file, base, files, {number: _text(file) for number, file in files.items()})


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DatabaseError(f"{file} is not UTF-8: byte {error.start} can't be read") from error


async def prepare(
    path: Path, scripts: Scripts, database_at: OpenDatabase = Database, keys: KeyWrapper | None = None
) -> "tuple[DatabaseIdentity, Vault | None]":
    """Create or change the service's database at `path`, and open its keys.

    Raises a StartupError that says what is wrong.
    """
    async with database_at(path) as database:
        # First of all: a database that is refused keeps every byte, so no script may have run on it.
        found = await database.in_thread(_barrier_version)
        if found > BARRIER_VERSION:
            raise DatabaseTooNew(path, found, BARRIER_VERSION)
        if not await database.in_thread(user_version):
            await _run_base(database, scripts)
        await database.run_script(DDL)
        await _run_changes(database, scripts)
        vault = await database.in_thread(partial(open_vault, keys=keys, name=str(path)))
        return await database.in_thread(_begin_epoch), vault


def _barrier_version(connection: sqlite3.Connection) -> int:
    """0 in a file that no service has opened yet."""
    is_there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sagagen_meta'").fetchone()
    return read_meta(connection, "barrier_version") if is_there else 0


def _begin_epoch(connection: sqlite3.Connection) -> DatabaseIdentity:
    connection.execute("UPDATE sagagen_meta SET value = value + 1 WHERE name = 'epoch'")
    return DatabaseIdentity(read_meta(connection, "database_id"), read_meta(connection, "epoch"))


async def _run_base(database: Database, scripts: Scripts) -> None:
    try:
        await database.run_script(scripts.base)
    except sqlite3.Error as error:
        if is_of_the_system(error):
            raise
        raise SchemaFailed(scripts.base_file, error) from error


async def _run_changes(database: Database, scripts: Scripts) -> None:
    try:
        await database.migrate(scripts.changes)
    except sqlite3.Error as error:
        if is_of_the_system(error):
            raise
        done = await database.in_thread(user_version)
        failed = min(number for number in scripts.changes if number > done)
        raise SchemaFailed(scripts.change_files[failed], error) from error


def _numbered(base_file: Path) -> dict[int, Path]:
    pattern = re.compile(re.escape(base_file.stem) + r"\.(\d+)\.sql")
    matches = ((pattern.fullmatch(file.name), file) for file in sorted(base_file.parent.glob("*.sql")))
    return {int(match[1]): file for match, file in matches if match}
