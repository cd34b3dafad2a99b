"""What keeps a database from being opened, in a line for whoever has to mend it: the file, the cause, the way out."""

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sagagen.runtime.sqlite.database import DatabaseError
from sagagen.runtime.startup import too_many_files

LEAST_FREE_BYTES = 256 * 1024
"""With less than that SQLite can't open a database in WAL mode: the WAL's index alone has 32 KiB."""
_TRIED = b"\0" * 64 * 1024
_OF_THE_SYSTEM = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
    }
)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class CannotOpen(DatabaseError):
    """The system does not let this process work with the file."""

    def __init__(self, path: Path, code: int) -> None:
        super().__init__(f"{path} can't be opened: {_explained(path, code)}")
        self.path = path


class NotYet(CannotOpen):
    """It passes, so whoever starts waits for it."""

    when: str
    """What it waits for, as in "it starts by itself when ..."."""


class DiskFull(NotYet):
    """There is no room."""

    when = "when there is room"


class LockedByOthers(NotYet):
    """Another program, a shell of SQLite or a backup for example, has held a lock for longer than SQLite waits."""

    when = "when the lock is released"


@contextmanager
def opening(path: Path) -> Generator[None]:
    """Turn what the system and SQLite raise while the database at `path` is opened into CannotOpen.

    SQLite tells most of it as "disk I/O error" or "unable to open database file", so the system is asked again.
    """
    try:
        yield
    except DatabaseError:
        raise
    except (OSError, sqlite3.OperationalError) as error:
        code = error.errno if isinstance(error, OSError) else _errno_behind(path, error)
        if code is None:
            raise
        raise _kind(code)(path, code) from error


def _kind(code: int) -> type[CannotOpen]:
    if code in _FULL:
        return DiskFull
    return LockedByOthers if code == errno.EBUSY else CannotOpen


def is_of_the_system(error: sqlite3.Error) -> bool:
    """The disk's doing, or another program's, and no mistake in SQL."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in _OF_THE_SYSTEM


def _errno_behind(path: Path, error: sqlite3.OperationalError) -> int | None:
    """None if it is no matter of the system."""
    if not is_of_the_system(error):
        return None
    if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
        return errno.EBUSY
    is_full = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL
    return errno.ENOSPC if is_full else _errno_of_trying(path) or errno.EIO


def _errno_of_trying(path: Path) -> int | None:
    """What the system says to a process that opens the file, and writes another one beside it."""
    try:
        if path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        if shutil.disk_usage(path.parent).free < LEAST_FREE_BYTES:
            return errno.ENOSPC
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(_TRIED)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno
    return None


def _explained(path: Path, code: int) -> str:
    match code:
        case errno.ENOSPC | errno.EDQUOT:
            return f"the disk is full; free some room in {path.parent}"
        case errno.EROFS:
            return "its file system is read-only; mount it to be written, or set SAGAGEN_DATA_DIR to another folder"
        case errno.EACCES | errno.EPERM:
            return (
                f"permission denied; let user {os.getuid()} write in {path.parent}, "
                f"or set SAGAGEN_DATA_DIR to another folder"
            )
        case errno.EBUSY:
            return "another program has locked it; end that program, or its transaction"
        case errno.EMFILE | errno.ENFILE:
            return too_many_files()
        case _:
            return f"{os.strerror(code)}; the system's log may say more of its disk"
