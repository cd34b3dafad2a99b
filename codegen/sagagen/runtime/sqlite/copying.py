"""A copy of a database, while it is in use or at rest, by SQLite's online backup (sqlite.org/backup.html)."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from sagagen.runtime.sqlite.database import DatabaseDamaged


def copy_database(source: Path, target: Path) -> int:
    """Copy all that is committed in `source` at one moment to the new file `target`. Returns its size in bytes.

    One file with all of it, on disk when this returns, and readable by this user alone. Writers of `source` are not
    held up. Raises FileExistsError, OSError and sqlite3.Error, or DatabaseDamaged if the copy is not whole; then there
    is no `target`.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        _copy(source, target)
        _sync(target)
        _sync(target.parent)
    except BaseException:
        with suppress(FileNotFoundError):
            target.unlink()
        raise
    return target.stat().st_size


def _copy(source: Path, target: Path) -> None:
    uri = f"{source.absolute().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(uri, uri=True)) as origin,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        origin.backup(copy)  # in one step, and so of one moment
        copy.execute("PRAGMA journal_mode = DELETE")  # no file beside it
        (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise DatabaseDamaged(source, ValueError(verdict))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
