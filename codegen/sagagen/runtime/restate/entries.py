"""The audit, and orders that wait for a second person, on Restate: bytes, and lines that its SQL can read."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from sagagen.runtime.audit.entry import AuditEntry, Result
from sagagen.runtime.audit.trail import PendingOrder
from sagagen.runtime.saga.journal import JournalUnreadable

ENTRY_COLUMNS = ("at_ms", "by", "saga_id", "entry")


def entries_to_bytes(entries: Sequence[AuditEntry]) -> bytes:
    """Empty for none."""
    return _dumped([asdict(entry) for entry in entries]) if entries else b""


def entries_from_bytes(data: bytes) -> Sequence[AuditEntry]:
    """Raises JournalUnreadable."""
    try:
        return [_entry(values) for values in json.loads(data)] if data else ()
    except (TypeError, ValueError, KeyError) as error:
        raise JournalUnreadable(f"entries of the audit can't be read: {error}") from error


def entry_to_bytes(entry: AuditEntry) -> bytes:
    return _dumped(asdict(entry))


def entry_from_bytes(data: bytes) -> AuditEntry:
    """Raises JournalUnreadable."""
    try:
        return _entry(json.loads(data))
    except (TypeError, ValueError, KeyError) as error:
        raise JournalUnreadable(f"an entry of the audit can't be read: {error}") from error


def entry_line(entry: AuditEntry) -> bytes:
    """ENTRY_COLUMNS with blanks between; the last one has blanks itself."""
    head = f"{entry.at_ms} {word(entry.by)} {word(entry.saga_id)} "
    return head.encode() + entry_to_bytes(entry)


def entry_of_line(line: str) -> AuditEntry:
    return entry_from_bytes(line.split(" ", len(ENTRY_COLUMNS) - 1)[-1].encode())


def word(text: str) -> str:
    """As one word, of which the beginning of the text is the beginning."""
    return quote(text, safe="")


def pending_to_bytes(order: PendingOrder) -> bytes:
    return _dumped(asdict(order))


def pending_from_bytes(data: bytes) -> PendingOrder:
    """Raises JournalUnreadable."""
    try:
        return PendingOrder(**json.loads(data))
    except (TypeError, ValueError) as error:
        raise JournalUnreadable(f"an order that waits can't be read: {error}") from error


def _entry(values: dict[str, Any]) -> AuditEntry:
    values["result"] = Result(values["result"])
    return AuditEntry(**values)


def _dumped(values: Any) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode()
