"""A saga in the state of its workflow: a line of text that Restate's SQL can look through, and all rows so far."""

from base64 import b64encode

from sagagen.runtime.restate.batch import RowBatch, from_bytes, to_bytes
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.journal import JournalUnreadable

STATE = "saga"
"""The one key of the state."""
COLUMNS = (
    "status",
    "name",
    "version",
    "digest",
    "started_ms",
    "updated_ms",
    "trace_id",
    "caller",
    "at_steps",
    "rows",
)
"""What the line has, with blanks between."""


def to_state(shown: RowBatch, history: History, encoded_rows: bytes | None = None) -> bytes:
    """`encoded_rows` are the rows that are shown, if somebody has them."""
    accepted = history.accepted
    values = (
        str(history.status),
        accepted.saga,
        accepted.version,
        accepted.digest,
        accepted.at_ms,
        history.updated_ms,
        accepted.trace.trace_id,
        text_of(accepted.caller),
        shown.at_steps.replace(" ", ","),
        # A character for each byte: Restate's disk compresses what stands in many rows, and would not in base 64.
        to_bytes(shown, encoded_rows).decode("latin-1"),
    )
    return " ".join(map(str, values)).encode()


def of_state(data: bytes) -> RowBatch:
    """Raises JournalUnreadable."""
    try:
        return from_bytes(data.decode().split(" ", len(COLUMNS) - 1)[-1].encode("latin-1"))
    except ValueError as error:
        raise JournalUnreadable(f"a workflow's state can't be read: {error}") from error


def text_of(caller: str) -> str:
    """A caller's name, whatever is in it, as one word."""
    return b64encode(caller.encode()).decode()


def column(name: str) -> str:
    """The column as an expression of Restate's SQL."""
    return f"split_part(value_utf8, ' ', {COLUMNS.index(name) + 1})"
