"""Is the log's file whole? Asked at each start, before anything is written to it.

A damaged file is only read: nothing else knows which sagas are open, and a person has to decide what can still be
saved from it.
"""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import structlog

CHECK_AT_MOST_S = 1.0
"""Time in seconds. A log that can't be read in it is checked in part, so that recovery is not held up."""
_INSTRUCTIONS = 20_000
"""Of SQLite's virtual machine, between two looks at the clock: well below a millisecond."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def damage_of(path: Path, within_s: float = CHECK_AT_MOST_S) -> str:
    """What is wrong with the file; empty if nothing was found or there is no file. Nothing is written."""
    if not path.exists() or path.stat().st_size == 0:
        return ""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return _quick_check(connection, path, within_s)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return str(error)
        raise


def how_to_mend(path: Path, damage: str) -> str:
    """The message for whoever has to repair it."""
    return (
        f"{path} is damaged ({damage}). It is kept as it is, and nothing starts on it. Restore it from a backup, "
        f"together with its -wal file; or save what can be read with `sqlite3 {path.name} .recover`; or move it and "
        f"its -wal and -shm files away to begin with an empty log: the open sagas in it are then not finished"
    )


def _quick_check(connection: sqlite3.Connection, path: Path, within_s: float) -> str:
    ends_s = time.monotonic() + within_s
    connection.set_progress_handler(lambda: time.monotonic() > ends_s, _INSTRUCTIONS)
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        _logger.info("the saga log is big: it was checked for damage only in part", path=str(path))
        return ""
    return "" if verdict == "ok" else " ".join(str(verdict).split())
