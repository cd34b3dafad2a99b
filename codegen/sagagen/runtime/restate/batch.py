"""What is kept in Restate: batches of a saga's rows, and what is said with them.

A batch is an entry of the journal. All that a saga's workflow does between two batches follows from the first of them,
so that code of any release, which reads it again, does the same. Each batch says its format, and one that this code
does not know is refused: the saga waits for code that does.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from sagagen.runtime.saga.codec import UnknownFormat, decode, encode
from sagagen.runtime.saga.events import LogEvent
from sagagen.runtime.saga.journal import JournalUnreadable

FORMAT = 1
_HEAD = struct.Struct(">BBqIIH")
"""Format, marks, `wake_ms`, number of orders taken, lengths of the reply and of the steps' names."""
_OVER, _SHOWN, _TOOK, _WAKES, _AUDITED = 1, 2, 4, 8, 16
_LENGTH = struct.Struct(">I")
"""Of the entries of the audit, where there are any."""


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows that are recorded together, and what follows from them."""

    rows: Sequence[LogEvent] = ()
    wake_ms: int | None = None
    """When the saga has something to do again, if it only waits: ms since the epoch, or FOR_EVER_MS. 0: it goes on,
    though a step of it is stuck. None: it waits no more."""
    is_over: bool = False
    """Nothing follows."""
    is_shown: bool = False
    """All rows so far are written to the workflow's state, where others read them."""
    took_order: bool = False
    """The order whose turn it was is settled; `reply` goes to whoever brought it."""
    orders: int = 0
    """Of a state: how many orders were taken."""
    reply: bytes = b""
    """To an order. Of the first batch, the workflow's input: where the gateway wants to be told of the answer."""
    audit: bytes = b""
    """What the audit says of its rows, as `entries.py` has it: it is kept once the batch is recorded."""
    at_steps: str = ""
    """Names of the steps that the saga is stuck at or waits at, with blanks between."""


def to_bytes(batch: RowBatch, encoded_rows: bytes | None = None) -> bytes:
    """`encoded_rows` are its rows, if somebody has them. Raises ValueError for a row that no column holds."""
    marks = (
        _OVER * batch.is_over
        + _SHOWN * batch.is_shown
        + _TOOK * batch.took_order
        + _WAKES * (batch.wake_ms is not None)
        + _AUDITED * bool(batch.audit)
    )
    steps = batch.at_steps.encode()[:65_535]
    head = _HEAD.pack(FORMAT, marks, batch.wake_ms or 0, batch.orders, len(batch.reply), len(steps))
    audit = _LENGTH.pack(len(batch.audit)) + batch.audit if batch.audit else b""
    rows = encode(batch.rows) if encoded_rows is None else encoded_rows
    return head + batch.reply + steps + audit + rows


def encoded_rows_in(data: bytes) -> bytes:
    """The rows of a batch as it has them. Those of batches that follow each other, put together, are all their rows."""
    _, marks, _, _, length, steps = _HEAD.unpack_from(data)
    return data[_audit_in(data, marks, _HEAD.size + length + steps)[1] :]


def _audit_in(data: bytes, marks: int, at: int) -> tuple[int, int]:
    """Where what the audit says begins and ends; `at` is where it stands if there is any. Raises struct.error."""
    if not marks & _AUDITED:
        return at, at
    begin = at + _LENGTH.size
    return begin, begin + _LENGTH.unpack_from(data, at)[0]


def from_bytes(data: bytes) -> RowBatch:
    """Raises UnknownFormat, or JournalUnreadable for bytes that are no batch."""
    if not data or data[0] != FORMAT:
        raise UnknownFormat(data[0] if data else 0)
    try:
        _, marks, wake_ms, orders, length, steps = _HEAD.unpack_from(data)
        steps_at = _HEAD.size + length
        audit_at, rows_at = _audit_in(data, marks, steps_at + steps)
    except struct.error as error:
        raise JournalUnreadable(f"a batch of rows can't be read: {error}") from error
    return RowBatch(
        rows=decode(data[rows_at:]),
        wake_ms=wake_ms if marks & _WAKES else None,
        is_over=bool(marks & _OVER),
        is_shown=bool(marks & _SHOWN),
        took_order=bool(marks & _TOOK),
        orders=orders,
        reply=data[_HEAD.size : steps_at],
        audit=data[audit_at:rows_at],
        at_steps=data[steps_at : steps_at + steps].decode(errors="replace"),
    )
