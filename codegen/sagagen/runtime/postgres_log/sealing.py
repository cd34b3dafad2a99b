"""What of the log is encrypted, and how it is read again. docs/encryption.md says what stays in the clear, and why.

A batch of rows is kept in three parts (`saga/secret_columns.py`): what is no secret, in the clear; the secrets, sealed
by the saga's data key; digests of requests, which outlive the saga's data, by the log's own key. Both are sealed for
their place: the saga, the number of the batch, and what its clear part says. A letter is sealed by the log's own key.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sagagen.runtime.postgres.connection import Record
from sagagen.runtime.saga.codec import decode, encode
from sagagen.runtime.saga.events import LogEvent
from sagagen.runtime.saga.journal import JournalUnreadable
from sagagen.runtime.saga.secret_columns import Parts, put_together, taken_apart, without_secrets
from sagagen.runtime.vault.keys import VARIABLE, KeysUnset

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import DataKey, Vault

ABOUT_SUBJECT = "subject"
"""What a subject's key is about."""
NO_KEYS = (
    f"it is encrypted, and this process was started without keys: set {VARIABLE} to the file that has its key"
)
_LETTER = b"\0"
"""How a letter begins that is sealed: no JSON does."""


class StoredKey(NamedTuple):
    """A saga's data key, as the table of sagas has it."""

    kek: str | None
    wrapped: bytes
    subject: int | None = None


class SagaSeal:
    """By what a saga's rows are sealed, for whoever writes them: its driver, and nobody else."""

    __slots__ = ("key", "part", "saga_id", "stored", "vault")

    def __init__(
        self,
        vault: "Vault",
        saga_id: str,
        key: "DataKey | None" = None,
        part: int = 0,
        stored: StoredKey | None = None,
    ) -> None:
        """`key`: None for a saga from before there were keys; it gets one with its next rows. `part` is the number of
        the last batch. `stored`: the key is not in the table yet, and has to be put there.
        """
        self.vault = vault
        self.key = key
        self.saga_id = saga_id
        self.part = part
        self.stored = stored

    def next(self, rows: Sequence[LogEvent]) -> "KeptRows":
        """The next batch. A number of one that is not written after all is left out."""
        if self.key is None:
            self.key, wrapped = self.vault.begin(about_saga(self.saga_id))
            self.stored = StoredKey(self.vault.first, wrapped)
        self.part += 1
        parts = taken_apart(rows)
        place = _place(self.part, parts.clear)
        digests = self.vault.own.seal(_of_saga(self.saga_id, place), parts.digests) if parts.digests else None
        return KeptRows(parts.clear, self.part, self.key.seal(place, parts.secrets), digests)


class KeptRows(NamedTuple):
    """A batch as the table has it."""

    rows: bytes
    part: int | None = None
    sealed: bytes | None = None
    digests: bytes | None = None


class Sealing:
    """Of one log. Without a vault, what is written stays in the clear."""

    def __init__(
        self, vault: "Vault | None" = None, *, hides: bool = False, unset: KeysUnset | None = None
    ) -> None:
        """`hides`: without keys a saga is shown without its secrets. Otherwise it can't be read.

        `unset`: the log is encrypted, and nothing is sent to its gateways without a key.
        """
        self.vault = vault
        self._hides = hides
        self._unset = unset

    def kept(self, seal: SagaSeal | None, rows: Sequence[LogEvent]) -> KeptRows:
        return seal.next(rows) if seal else KeptRows(encode(rows))

    def begin(self, saga_id: str, above: "tuple[int, DataKey] | None") -> SagaSeal | None:
        """Of a new saga. `above` is its subject's key, with its number."""
        if self.vault is None:
            return None
        if above:
            number, key_above = above
            key, wrapped = self.vault.begin_below(key_above, about_saga(saga_id))
            stored = StoredKey(None, wrapped, number)
        else:
            key, wrapped = self.vault.begin(about_saga(saga_id))
            stored = StoredKey(self.vault.first, wrapped)
        return SagaSeal(self.vault, saga_id, key, stored=stored)

    def fingerprint(self, saga_id: str, fingerprint: bytes) -> bytes:
        """As the table of sagas has it."""
        return (
            self.vault.own.seal(_of_saga(saga_id, "fingerprint"), fingerprint) if self.vault else fingerprint
        )

    def opened_fingerprint(self, saga: Record) -> bytes:
        """Raises JournalUnreadable. Empty where it is hidden."""
        if not saga["is_sealed"]:
            return saga["fingerprint"]
        if self.vault is None:
            self._hide()
            return b""
        try:
            return self.vault.own.open(_of_saga(saga["saga_id"], "fingerprint"), saga["fingerprint"])
        except ValueError as error:
            raise JournalUnreadable(str(error)) from error

    def opened(self, saga: Record, batches: Sequence[Record], above: "Record | None") -> "OpenedRows":
        """A saga's rows. `above` is the key of its subject. Raises JournalUnreadable."""
        if saga["wrapped"] is None:
            if saga["is_sealed"] or any(batch["sealed"] is not None for batch in batches):
                raise JournalUnreadable("it is encrypted, and its data key is not there")
            rows = tuple(row for batch in batches for row in decode(batch["rows"]))
            return OpenedRows(rows, SagaSeal(self.vault, saga["saga_id"]) if self.vault else None)
        if saga["is_sealed"] and any(batch["sealed"] is None for batch in batches):
            raise JournalUnreadable("a row of it is not encrypted, and all of them were")
        if self.vault is None:
            self._hide()
            return OpenedRows(_hidden(batches, "(encrypted)"), hidden=NO_KEYS)
        return self._opened(self.vault, saga, batches, above)

    def _opened(
        self, vault: "Vault", saga: Record, batches: Sequence[Record], above: "Record | None"
    ) -> "OpenedRows":
        from sagagen.runtime.vault.vault import Forgotten

        saga_id = saga["saga_id"]
        try:
            key = self._key(vault, saga, above)
            rows: list[LogEvent] = []
            part = 0
            for batch in batches:
                if batch["sealed"] is None:
                    rows += decode(batch["rows"])
                    continue
                if batch["part"] <= part:
                    raise JournalUnreadable("its batches of rows do not stand in their order")
                part = batch["part"]
                rows += put_together(_parts(vault, key, saga_id, batch))
        except Forgotten as forgotten:
            return OpenedRows(_hidden(batches, "(erased)"), hidden=str(forgotten))
        except JournalUnreadable:
            raise
        except ValueError as error:
            raise JournalUnreadable(str(error)) from error
        return OpenedRows(tuple(rows), SagaSeal(vault, saga_id, key, part))

    def _key(self, vault: "Vault", saga: Record, above: "Record | None") -> "DataKey":
        about = about_saga(saga["saga_id"])
        if saga["subject"] is None:
            return vault.unwrap(saga["kek"], saga["wrapped"], about)
        if above is None:
            raise JournalUnreadable("it is encrypted, and its subject's key is not there")
        of_subject = vault.unwrap(above["kek"], above["wrapped"], ABOUT_SUBJECT)
        return vault.unwrap_below(of_subject, saga["wrapped"], about)

    def _hide(self) -> None:
        if not self._hides:
            raise JournalUnreadable(NO_KEYS)

    def letter(self, body: bytes) -> bytes:
        """As the mail has it. Raises KeysUnset."""
        if self._unset:
            raise self._unset
        return _LETTER + self.vault.own.seal("letter", body) if self.vault else body

    def opened_letter(self, body: bytes) -> bytes:
        """Raises JournalUnreadable."""
        if not body.startswith(_LETTER):
            return body
        if self.vault is None:
            raise JournalUnreadable(NO_KEYS)
        try:
            return self.vault.own.open("letter", body[len(_LETTER) :])
        except ValueError as error:
            raise JournalUnreadable(str(error)) from error


class OpenedRows(NamedTuple):
    rows: tuple[LogEvent, ...]
    seal: SagaSeal | None = None
    """For whoever goes on with the saga."""
    hidden: str = ""
    """Why what is encrypted can't be read; empty if it can, or nothing is."""


def _parts(vault: "Vault", key: "DataKey", saga_id: str, batch: Record) -> Parts:
    place = _place(batch["part"], batch["rows"])
    sealed = batch["digests"]
    digests = vault.own.open(_of_saga(saga_id, place), sealed) if sealed is not None else b""
    return Parts(batch["rows"], key.open(place, batch["sealed"]), digests)


def _hidden(batches: Sequence[Record], text: str) -> tuple[LogEvent, ...]:
    return tuple(
        row
        for batch in batches
        for row in (
            decode(batch["rows"]) if batch["sealed"] is None else without_secrets(batch["rows"], text)
        )
    )


def about_saga(saga_id: str) -> str:
    """What a saga's data key is about."""
    return f"saga {saga_id}"


def _place(part: int, clear: bytes) -> str:
    return f"{part}\0{hashlib.sha256(clear).hexdigest()}"


def _of_saga(saga_id: str, what: str) -> str:
    return f"{saga_id}\0{what}"
