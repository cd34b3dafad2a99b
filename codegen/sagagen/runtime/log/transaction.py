"""One transaction for a group of writes: a write that is at fault fails alone, a file that is at fault fails all."""

import sqlite3
from collections.abc import Sequence

from sagagen.runtime.log.write_queue import LogWrite
from sagagen.runtime.sqlite.database import begin

Written = int | Exception | None
"""What a write returned, or the error of one that failed alone."""

_WRITE_ERRORS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
)
"""What SQLite says where one write is at fault and not the file."""


def write_all(connection: sqlite3.Connection, group: Sequence[LogWrite]) -> list[Written]:
    """Do the group's work in the transaction that has begun. Raises sqlite3.Error where the file is at fault."""
    try:
        return [write.work(connection) for write in group]
    except Exception as error:
        if _is_of_file(error):
            raise
        # One of them is at fault: find out which, and write the others. A savepoint for each costs time, so it is
        # paid only now.
        connection.execute("ROLLBACK")
        begin(connection)
        return [_write_one(connection, write) for write in group]


def commit(connection: sqlite3.Connection) -> None:
    """End the transaction: this is what waits for the disk."""
    connection.execute("COMMIT")


def roll_back(connection: sqlite3.Connection) -> None:
    """End the transaction without an effect; SQLite itself has ended it where the disk is full or fails."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def is_out_of_room(error: Exception) -> bool:
    """The disk may be full: an error that more room could mend."""
    if not isinstance(error, sqlite3.OperationalError):
        return False
    # Where the WAL's index can't grow, SQLite calls a full disk an I/O error; its extended codes keep the kind below.
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _is_of_file(error: Exception) -> bool:
    """The file is at fault and not one write: that voids the group."""
    return isinstance(error, sqlite3.Error) and not isinstance(error, _WRITE_ERRORS)


def _write_one(connection: sqlite3.Connection, write: LogWrite) -> Written:
    connection.execute("SAVEPOINT one")
    try:
        result = write.work(connection)
    except Exception as error:
        if _is_of_file(error):
            raise
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return error
    connection.execute("RELEASE one")
    return result
