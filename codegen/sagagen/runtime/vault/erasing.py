"""Destroying keys, so that nothing is left of them in the file.

A wrapped key is overwritten by zeros of the same length, where it stands: SQLite writes a value of the same size in
place. Then the write-ahead log, which has earlier pages, is copied back and cut to nothing, and the file is searched:
SQLite may have left a copy where rows moved from one page to another. What a file system or a disk keeps of bytes that
were overwritten is beyond a program; so are backups.
"""

import mmap
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

BUSY_S = 5.0
"""Seconds that are waited for another's write."""
EMPTY_WITHIN_S = 30.0
"""Seconds in which the write-ahead log has to be emptied: readers may hold on to it."""

LOOKED_AT_BYTES = 100 * 1024**3
"""So many are looked at for what may be left, the file once for each key: a minute or so."""


class NotEmptied(Exception):
    """The keys are destroyed, and the write-ahead log may still have them: somebody reads for long. Do it again."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"the keys in {path} are destroyed, but its write-ahead log could not be emptied: a reader holds on to it. "
            "Give the same command again"
        )


def opened(path: Path) -> "closing[sqlite3.Connection]":
    """A connection of its own to a database in use or at rest, whose pages keep nothing of what is deleted."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=BUSY_S
    )
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA synchronous = FULL")
    return closing(connection)


@dataclass(frozen=True, slots=True)
class Wiping:
    """What overwrites keys."""

    keys: Sequence[bytes]
    """The keys that are to be gone, wrapped as they stand in the file."""
    statements: Sequence[tuple[str, Sequence[tuple[object, ...]]]]
    """Each with the values for each time that it is run."""


def destroy_keys(path: Path, wiping: Callable[[sqlite3.Connection], Wiping]) -> None:
    """Overwrite keys in one transaction, and see to it that no copy of them is left. May be repeated.

    `wiping` is asked in that transaction, and may refuse by raising. Raises NotEmptied.
    """
    with opened(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            wished = wiping(connection)
            for statement, values in wished.statements:
                connection.executemany(statement, values)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        empty_log(connection, path)
        if has_any(path, wished.keys):
            # A page that was full once and has given rows away keeps them in its gap. Only a new file has no gaps.
            connection.execute("VACUUM")
            empty_log(connection, path)


def has_any(path: Path, keys: Sequence[bytes]) -> bool:
    """Whether a file holds any of these bytes, wherever. Yes, if finding that out would take minutes."""
    if not keys or not path.stat().st_size:
        return False
    if len(keys) * path.stat().st_size > LOOKED_AT_BYTES:
        return True
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(key) >= 0 for key in keys)


def empty_log(connection: sqlite3.Connection, path: Path) -> None:
    """Copy the write-ahead log back and cut it to nothing. Raises NotEmptied."""
    give_up_s = time.monotonic() + EMPTY_WITHIN_S
    while True:
        is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not is_busy:
            return
        if time.monotonic() > give_up_s:
            raise NotEmptied(path)
        time.sleep(0.05)
