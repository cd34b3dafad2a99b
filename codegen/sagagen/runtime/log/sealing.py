"""What of the log is encrypted, and how it is read again. docs/encryption.md says what stays in the clear, and why.

A saga's rows are sealed by the saga's data key, each value for its place: saga, number and kind of the row, column.
What must outlive the saga's data, the digests of requests, is sealed by the log's own key.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from sagagen.runtime.log import schema as sql
from sagagen.runtime.saga.secret_columns import DIGESTS, HIDDEN_RESULT, SECRET_BYTES, SECRET_TEXTS
from sagagen.runtime.vault.keys import VARIABLE, KeysUnset, KeyWrapper

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import DataKey, KeyTables, Vault

SEALED_BYTES, SEALED_TEXTS = SECRET_BYTES, SECRET_TEXTS
OWN_BYTES = DIGESTS
"""Sealed by the log's own key: a request that is repeated is known though the saga's data are erased."""
ABOUT_SUBJECT = "subject"
"""What a subject's key is about."""
ACCEPTED_LATELY = 2048
"""Sagas whose data keys are at hand without a look into the log."""
_SAGA_ID, _FINGERPRINT, _CLAIMS = map(sql.SAGA_COLUMNS.index, ("saga_id", "fingerprint", "claims"))
_OF_AN_EVENT = frozenset({*SEALED_BYTES, *SEALED_TEXTS, *OWN_BYTES})
NO_KEYS = f"the log is encrypted: set {VARIABLE} to the file that has its key"
"""A row that was written without would be the only one in the clear, and built of nothing."""

Record = Mapping[str, Any] | sqlite3.Row


def open_vault(
    connection: sqlite3.Connection, keys: KeyWrapper | None, name: str, *, hides: bool
) -> "Vault | None":
    """The log's keys; None where it has none, and where `hides` says that what is encrypted may stay hidden.

    Raises KeysUnset, KeysMissing or KeyIsAnother.
    """
    if keys is None:
        if (ids := key_ids(connection)) and not hides:
            raise KeysUnset(name, ids)
        return None
    from sagagen.runtime.vault.vault import Vault

    return Vault.open(connection, keys, tables(), name)


def key_ids(connection: sqlite3.Connection) -> list[str]:
    """Of the key-encryption keys that a log is encrypted by; empty if it is not."""
    return [row[0] for row in connection.execute("SELECT kek FROM store_key ORDER BY kek")]


def tables() -> "KeyTables":
    """Where the log keeps keys."""
    from sagagen.runtime.vault.vault import KeyTables

    return KeyTables("", {"saga": "'saga ' || saga_id", "subject_key": f"'{ABOUT_SUBJECT}'"})


class Sealer:
    """Seals the rows of a log, within the transactions that write them: one for each log that is open."""

    def __init__(self, vault: "Vault", last_seq: int) -> None:
        self._vault = vault
        self._seq = last_seq
        """Number of the last row. A transaction that is rolled back leaves a gap, and no number comes twice."""
        self._keys: dict[int, DataKey] = {}
        """Of sagas that were accepted lately, by number. The log knows of no row before its saga is committed, and a
        saga that takes the number of one that was not takes its place here."""

    @classmethod
    def open(cls, vault: "Vault", connection: sqlite3.Connection) -> "Sealer":
        """To be the only one that numbers rows of this log."""
        return cls(vault, connection.execute(sql.SELECT_LAST_SEQ).fetchone()[0] or 0)

    def seal_saga(
        self, connection: sqlite3.Connection, values: Sequence[object], subject: str
    ) -> "tuple[tuple[object, ...], DataKey]":
        """The values of INSERT_SAGA, encrypted, and the saga's data key; with a `subject` its key wraps that."""
        saga_id = str(values[_SAGA_ID])
        digest = self._vault.own.seal(_place_of_saga(saga_id), cast(bytes, values[_FINGERPRINT]))
        kek: str | None = self._vault.first
        number: int | None = None
        if subject:
            number, above = self._subject(connection, subject)
            kek, (key, wrapped) = None, self._vault.begin_below(above, _about(saga_id))
        else:
            key, wrapped = self._vault.begin(_about(saga_id))
        found = [*values[:-4], 1, kek, wrapped, number]
        found[_FINGERPRINT] = digest
        if claims := values[_CLAIMS]:
            found[_CLAIMS] = key.seal(_CLAIMS_OF_SAGA, str(claims).encode())
        return tuple(found), key

    def accepted(self, number: int, key: "DataKey") -> None:
        """A saga has this number, and this key: its rows follow."""
        if len(self._keys) >= ACCEPTED_LATELY:
            del self._keys[next(iter(self._keys))]
        self._keys[number] = key

    def seal(self, connection: sqlite3.Connection, number: int, values: dict[str, object]) -> None:
        """Make of an event's columns what is written. Rows are numbered here, since their numbers are part of it."""
        self._seq += 1
        kind, key = values["kind"], None
        for column, value in values.items():
            if column not in _OF_AN_EVENT:
                continue
            if column in OWN_BYTES:
                used = self._vault.own
            else:
                used = key = key or self._key(connection, number)
            data = value.encode() if isinstance(value, str) else cast(bytes, value)
            values[column] = used.seal(_place(number, self._seq, kind, column), data)
        values["seq"] = self._seq
        values["sealed"] = 1

    def _key(self, connection: sqlite3.Connection, number: int) -> "DataKey":
        """The saga's data key. One that began before there were keys gets it now."""
        if known := self._keys.get(number):
            return known
        found = connection.execute(sql.SELECT_DATA_KEY, (number,)).fetchone()
        if found["wrapped"] is not None:
            return data_key(self._vault, found)
        key, wrapped = self._vault.begin(_about(found["saga_id"]))
        connection.execute(sql.SET_DATA_KEY, (self._vault.first, wrapped, number))
        return key

    def _subject(self, connection: sqlite3.Connection, subject: str) -> "tuple[int, DataKey]":
        """A subject's number and key; begun if it has none that lives."""
        name = self._vault.name_of(subject)
        if found := connection.execute(sql.SELECT_SUBJECT_KEY, (name,)).fetchone():
            return found["number"], self._vault.unwrap(found["kek"], found["wrapped"], ABOUT_SUBJECT)
        key, wrapped = self._vault.begin(ABOUT_SUBJECT)
        added = connection.execute(sql.INSERT_SUBJECT_KEY, (name, self._vault.first, wrapped)).lastrowid
        assert added is not None, "a row was added"
        return added, key


def data_key(vault: "Vault", found: sqlite3.Row) -> "DataKey":
    """Of SELECT_DATA_KEY. Raises Forgotten, or Sealed."""
    about = _about(found["saga_id"])
    if found["subject"] is None:
        return vault.unwrap(found["kek"], found["wrapped"], about)
    above = vault.unwrap(found["subject_kek"], found["subject_wrapped"], ABOUT_SUBJECT)
    return vault.unwrap_below(above, found["wrapped"], about)


class Opener:
    """Reads what is sealed."""

    def __init__(self, vault: "Vault | None", connection: sqlite3.Connection) -> None:
        """Without a vault what is sealed stays hidden."""
        self._vault = vault
        self._connection = connection

    def saga(self, saga: sqlite3.Row) -> Record:
        """A row of the table of sagas, opened. Raises ValueError."""
        if not saga["sealed"]:
            return saga
        values = dict(zip(saga.keys(), saga, strict=True))
        if self._vault is None:
            return values | {"fingerprint": b"", "claims": None}
        opened = self._vault.own.open(_place_of_saga(values["saga_id"]), values["fingerprint"])
        return values | {"fingerprint": opened, "claims": self._claims(self._vault, values)}

    def _claims(self, vault: "Vault", saga: Mapping[str, Any]) -> str | None:
        """None where they were erased."""
        if saga["claims"] is None:
            return None
        from sagagen.runtime.vault.vault import Forgotten

        try:
            return self._key(vault, saga["number"]).open(_CLAIMS_OF_SAGA, saga["claims"]).decode()
        except Forgotten:
            return None

    def events(self, number: int, events: Sequence[sqlite3.Row]) -> tuple[Sequence[Record], str]:
        """A saga's events, opened; and why what is sealed stays hidden, empty if it does not. Raises ValueError."""
        if not any(event["sealed"] for event in events):
            return events, ""
        if events[0]["sealed"] and not all(event["sealed"] for event in events):
            raise ValueError("a row of it is not encrypted, and all of them were")
        if self._vault is None:
            return [_hidden(event, "(encrypted)") for event in events], NO_KEYS
        from sagagen.runtime.vault.vault import Forgotten

        try:
            key = self._key(self._vault, number)
        except Forgotten as forgotten:
            return [_hidden(event, "(erased)") for event in events], str(forgotten)
        return [self._opened(key, number, event) for event in events], ""

    def _key(self, vault: "Vault", number: int) -> "DataKey":
        found = self._connection.execute(sql.SELECT_DATA_KEY, (number,)).fetchone()
        if found is None or found["wrapped"] is None:
            raise ValueError("it is encrypted, and its data key is not there")
        return data_key(vault, found)

    def _opened(self, key: "DataKey", number: int, event: sqlite3.Row) -> Record:
        if not event["sealed"]:  # from before there were keys
            return event
        values = dict(zip(event.keys(), event, strict=True))
        seq, kind, own = values["seq"], values["kind"], self._vault.own if self._vault else key
        for column in _OF_AN_EVENT & values.keys():
            if (value := values[column]) is None:
                continue
            opener = own if column in OWN_BYTES else key
            opened = opener.open(_place(number, seq, kind, column), value)
            values[column] = opened.decode() if column in SEALED_TEXTS else opened
        return values

    def result(self, head: sqlite3.Row) -> Record | None:
        """The columns of a saga's result, from SELECT_HEAD; None where they can't be read any more.

        Raises ValueError where they were altered.
        """
        if not head["event_sealed"]:
            return head
        if self._vault is None:
            return None
        from sagagen.runtime.vault.vault import Forgotten

        number, seq, kind = head["number"], head["answer_seq"], head["event_kind"]
        try:
            key = self._key(self._vault, number)
        except Forgotten:
            return None
        found = {column: head[column] for column in ("answer_status", "answer_headers", "answer_body")}
        headers, body = found["answer_headers"], found["answer_body"]
        if headers is not None:
            opened = key.open(_place(number, seq, kind, "answer_headers"), headers)
            found["answer_headers"] = opened.decode()
        if body is not None:
            found["answer_body"] = key.open(_place(number, seq, kind, "answer_body"), body)
        return found


def _hidden(event: sqlite3.Row, text: str) -> Record:
    if not event["sealed"]:
        return event
    values = dict(zip(event.keys(), event, strict=True))
    values |= {column: b"" for column in (*SEALED_BYTES, *OWN_BYTES) if values.get(column) is not None}
    values |= {column: text for column in SEALED_TEXTS if values.get(column) is not None}
    return values | {"answer_headers": HIDDEN_RESULT if values["answer_headers"] is not None else None}


def _about(saga_id: str) -> str:
    return f"saga {saga_id}"


def _place(number: int, seq: object, kind: object, column: str) -> str:
    return f"{number}\0{seq}\0{kind}\0{column}"


_CLAIMS_OF_SAGA = "saga\0claims"


def _place_of_saga(saga_id: object) -> str:
    return f"{saga_id}\0saga\0fingerprint"
