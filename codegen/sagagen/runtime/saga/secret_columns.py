"""Which columns of a saga's rows hold what customers said, and a batch of rows without them.

A log that is encrypted keeps a batch in three parts: what is no secret, the secrets, and the digests of requests, which
outlive the saga's data. The first part has a format of its own: code that knows of no parts must not take it for rows
whose payloads are empty.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sagagen.runtime.saga.codec import FORMAT, UnknownFormat, batch_of, parsed, rows_of
from sagagen.runtime.saga.events import LogEvent
from sagagen.runtime.saga.history_messages import Batch
from sagagen.runtime.saga.journal import JournalUnreadable

SECRET_BYTES = ("payload", "next_request", "answer_body")
SECRET_TEXTS = ("next_problem", "message", "answer_headers", "note", "claims")
DIGESTS = ("fingerprint",)
HIDDEN_RESULT = '{"kind":"HIDDEN"}'
"""`answer_headers` of a result that can't be read."""
FORMAT_OF_PARTS = 2
"""Of a batch whose secrets stand elsewhere."""
_SECRETS = SECRET_BYTES + SECRET_TEXTS


class Parts(NamedTuple):
    """A batch of rows, taken apart."""

    clear: bytes
    """The rows; where a secret was stands an empty value."""
    secrets: bytes
    digests: bytes
    """Empty: no row has one."""


def taken_apart(rows: Sequence[LogEvent]) -> Parts:
    """Raises ValueError for a number or a text that no column holds."""
    batch = batch_of(rows)
    batch.format = FORMAT_OF_PARTS
    secrets, digests = Batch(), Batch()
    for row in batch.rows:
        _move(row, secrets.rows.add(), _SECRETS)
        _move(row, digests.rows.add(), DIGESTS)
    has_digest = any(row.HasField(column) for row in digests.rows for column in DIGESTS)
    return Parts(_bytes(batch), _bytes(secrets), _bytes(digests) if has_digest else b"")


def put_together(parts: Parts) -> tuple[LogEvent, ...]:
    """The rows. Raises UnknownFormat or JournalUnreadable."""
    batch = _clear(parts.clear)
    for data in filter(None, (parts.secrets, parts.digests)):
        found = parsed(data)
        if len(found.rows) != len(batch.rows):
            raise JournalUnreadable("the parts of a batch of rows do not belong together")
        for row, part in zip(batch.rows, found.rows, strict=True):
            row.MergeFrom(part)
    return rows_of(batch)


def without_secrets(clear: bytes, text: str) -> tuple[LogEvent, ...]:
    """The rows, with a text in place of each text that is secret. Raises UnknownFormat or JournalUnreadable."""
    batch = _clear(clear)
    for row in batch.rows:
        for column in SECRET_TEXTS:
            if row.HasField(column):
                setattr(row, column, HIDDEN_RESULT if column == "answer_headers" else text)
    return rows_of(batch)


def _clear(data: bytes) -> Any:
    batch = parsed(data)
    if batch.format != FORMAT_OF_PARTS:
        raise UnknownFormat(batch.format)
    batch.format = FORMAT
    return batch


def _move(row: Any, to: Any, columns: Sequence[str]) -> None:
    for column in columns:
        if row.HasField(column):
            value = getattr(row, column)
            setattr(to, column, value)
            setattr(row, column, value[:0])


def _bytes(batch: Any) -> bytes:
    return batch.SerializeToString(deterministic=True)
