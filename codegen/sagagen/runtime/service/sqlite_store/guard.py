"""What a handler's SQL may do on the service's connection: anything but end or leave the runtime's transaction.

SQLite asks its authorizer when a statement is prepared, and Python keeps prepared statements by their text. So the
runtime's own statements carry a mark that no handler's text has. Without it a handler's `COMMIT` would find the
runtime's, prepared and allowed, and run.
"""

import secrets
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from sagagen.runtime.service.call import StatementNotAllowed

T = TypeVar("T")

_MARK = secrets.token_hex(4)


def own(sql: str) -> str:
    """The runtime's text of a statement that handlers may not use."""
    return f"{sql} /*{_MARK}*/"


BEGIN_READ = own("BEGIN")

OWN_TABLES = "sagagen_"
"""Prefix of the tables that belong to the runtime."""

_WRITES = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})
_CONTROL = {
    sqlite3.SQLITE_TRANSACTION: "BEGIN, COMMIT and ROLLBACK are the runtime's: raise an exception to undo",
    sqlite3.SQLITE_SAVEPOINT: "savepoints are the runtime's: raise an exception to undo",
    sqlite3.SQLITE_ATTACH: "a service has one database; ATTACH and VACUUM are not allowed",
    sqlite3.SQLITE_DETACH: "a service has one database; DETACH is not allowed",
    sqlite3.SQLITE_PRAGMA: "PRAGMA is not allowed",
}
_HARMLESS_PRAGMAS = frozenset({"data_version", "page_size"})
"""SQLite's full-text search reads these by itself."""


class TransactionLost(Exception):
    """A statement before this one rolled the whole transaction back; nothing of this call will be kept."""


class Guard:
    """The authorizer of one connection; used in that connection's thread only."""

    def __init__(self, *, is_read_only: bool) -> None:
        self._is_read_only = is_read_only
        self._is_handler = False
        self._objection = ""

    def install(self, connection: sqlite3.Connection) -> None:
        """Once per connection: each new authorizer makes SQLite prepare every statement again."""
        connection.set_authorizer(self._authorize)

    def run(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a handler's statement.

        Outside a transaction it would be committed at once, without a barrier row; so it is refused there.
        """
        if not connection.in_transaction:
            if not self._is_read_only:
                raise TransactionLost("an earlier statement rolled back the transaction of this call")
            connection.execute(BEGIN_READ)
        self._is_handler, self._objection = True, ""
        try:
            return work(connection)
        except sqlite3.DatabaseError as error:
            if self._objection:
                raise StatementNotAllowed(self._objection) from error
            raise
        finally:
            self._is_handler = False

    def _authorize(
        self, action: int, first: str | None, second: str | None, _schema: str | None, _source: str | None
    ) -> int:
        if self._is_handler and (objection := self._object_to(action, first or "", second)):
            self._objection = objection
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    def _object_to(self, action: int, first: str, second: str | None) -> str:
        if action == sqlite3.SQLITE_PRAGMA and first in _HARMLESS_PRAGMAS and second is None:
            return ""
        if action in _CONTROL:
            return _CONTROL[action]
        if action in _WRITES and self._is_read_only:
            return "a method that is a read (NO_SIDE_EFFECTS, or read: true in saga.yaml) only reads"
        if (action in _WRITES or action == sqlite3.SQLITE_DROP_TABLE) and first.startswith(OWN_TABLES):
            return f"table {first} is the runtime's"
        return ""
