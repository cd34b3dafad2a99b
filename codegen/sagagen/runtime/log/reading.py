"""Reads sagas from the log's tables. One that can't be read is told from the others, and keeps none of them back."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

from sagagen.runtime.log import schema as sql
from sagagen.runtime.log.errors import LogCorrupted
from sagagen.runtime.log.records import head_of, rows_of
from sagagen.runtime.log.sealing import Opener
from sagagen.runtime.log.search import find_of_caller, find_sagas
from sagagen.runtime.saga.logged import Found, LoggedSaga, SagaHead, SagaRef
from sagagen.runtime.saga.search import CallerQuery, SagaPage, SagaQuery, UnreadableSaga

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import Vault

T = TypeVar("T")
PAGE = 500
"""Number of sagas that recovery reads with one query."""

_UNREADABLE = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError)
"""What reading a row raises that no version of ours wrote."""


def find_head(connection: sqlite3.Connection, saga_id: str, vault: "Vault | None" = None) -> SagaHead | None:
    """Where a saga stands; None if there is no such saga. Raises LogCorrupted.

    Here and below: without a vault, what is encrypted stays hidden.
    """
    reader = _Reader(connection, vault)
    records = reader.rows(sql.SELECT_HEAD, (saga_id,))
    if not records:
        return None
    try:
        reader.check_text(records)
        return head_of(reader.opener.saga(records[0]), reader.opener.result(records[0]))
    except _UNREADABLE as error:
        raise LogCorrupted(_why(saga_id, error)) from error


def find_saga(
    connection: sqlite3.Connection, saga_id: str, vault: "Vault | None" = None
) -> LoggedSaga | None:
    """A saga with all of its rows; None if there is no such saga. Raises LogCorrupted."""
    reader = _Reader(connection, vault)
    sagas = reader.rows(sql.SELECT_SAGA, (saga_id,))
    if not sagas:
        return None
    found = reader.read(sagas[0], reader.rows(sql.SELECT_EVENTS, (sagas[0]["number"],)))
    if isinstance(found, UnreadableSaga):
        raise LogCorrupted(found.why)
    return found


def search_sagas(
    connection: sqlite3.Connection, query: SagaQuery, vault: "Vault | None" = None
) -> list[Found]:
    """A page of the sagas that match, newest first."""
    reader = _Reader(connection, vault)
    sagas = reader.run(lambda: find_sagas(connection, query))
    return [reader.read(saga, reader.rows(sql.SELECT_EVENTS, (saga["number"],))) for saga in sagas]


def sagas_of_caller(connection: sqlite3.Connection, query: CallerQuery) -> SagaPage:
    """A page of a caller's sagas, newest first. Raises UnknownSaga if `after` is none of them."""
    return _Reader(connection).run(lambda: find_of_caller(connection, query))


def open_sagas_in(connection: sqlite3.Connection) -> list[Found]:
    """All open sagas of a log, newest first."""
    query, found = SagaQuery(limit=PAGE), list[Found]()
    while page := search_sagas(connection, query):
        found += page
        query = replace(query, before=page[-1].cursor)
    return found


def active_page(connection: sqlite3.Connection, after: int, vault: "Vault | None" = None) -> list[Found]:
    """The next active sagas after this number, oldest first."""
    reader = _Reader(connection, vault)
    sagas = reader.rows(sql.SELECT_ACTIVE, (after, PAGE))
    if not sagas:
        return []
    events = reader.rows(sql.SELECT_ACTIVE_EVENTS, (after, sagas[-1]["number"]))
    of_saga = {number: list(group) for number, group in groupby(events, itemgetter("saga"))}
    return [reader.read(saga, of_saga.get(saga["number"], [])) for saga in sagas]


class _Reader:
    """Python's sqlite3 fails a whole query for one text that is no UTF-8: then it is asked again, less strictly."""

    def __init__(self, connection: sqlite3.Connection, vault: "Vault | None" = None) -> None:
        self.opener = Opener(vault, connection)
        self._connection = connection
        self._is_lenient = False

    def rows(self, select: str, values: tuple[object, ...]) -> list[sqlite3.Row]:
        return self.run(lambda: self._connection.execute(select, values).fetchall())

    def run(self, query: Callable[[], T]) -> T:
        try:
            return query()
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
        self._is_lenient = True
        self._connection.text_factory = _with_what_is_no_text
        try:
            return query()
        finally:
            self._connection.text_factory = str

    def read(self, saga: sqlite3.Row, events: Sequence[sqlite3.Row]) -> Found:
        try:
            self.check_text((saga, *events))
            opened, hidden = self.opener.events(saga["number"], events)
            rows = rows_of(self.opener.saga(saga), opened)
        except _UNREADABLE as error:
            return _unreadable(saga, error)
        return LoggedSaga(SagaRef(saga["number"], saga["trace_id"]), rows, saga["wake_ms"], hidden)

    def check_text(self, rows: Sequence[sqlite3.Row]) -> None:
        """Raises ValueError where a text is none: nothing is guessed."""
        if self._is_lenient:
            for text in (value for row in rows for value in tuple(row) if isinstance(value, str)):
                text.encode()


def _with_what_is_no_text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _unreadable(saga: sqlite3.Row, error: Exception) -> UnreadableSaga:
    saga_id = str(saga["saga_id"])
    return UnreadableSaga(
        saga_id=saga_id,
        saga=str(saga["name"]),
        version=saga["version"],
        status=str(saga["status"]),
        started_ms=saga["started_ms"],
        why=_why(saga_id, error),
        cursor=str(saga["number"]),
    )


def _why(saga_id: str, error: Exception) -> str:
    said = f"there is no {error}" if isinstance(error, KeyError) else str(error)
    return f"saga {saga_id} can't be read from the log: {said}"
