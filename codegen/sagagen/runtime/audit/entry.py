"""One thing that somebody did, or was not let do."""

from dataclasses import dataclass, field
from enum import StrEnum
from secrets import token_hex

MAX_TEXT = 300
"""Characters of each text of an entry: strangers choose some of them."""


class Result(StrEnum):
    """What became of it."""

    DONE = "DONE"
    """It is done; of something that was looked at: it was shown."""
    REPEATED = "REPEATED"
    """It had been done before, so nothing was left to do."""
    PENDING = "PENDING"
    """It waits for a second person."""
    REFUSED = "REFUSED"
    """It can't be done: the order or the saga is not like that. 400, 404, 409."""
    DENIED = "DENIED"
    """Whoever asked may not do that. 403."""
    UNKNOWN = "UNKNOWN"
    """Nobody knows who asked. 401."""
    FAILED = "FAILED"
    """Nothing could be written, so it is not known whether it was done. 503."""

    @property
    def is_refusal(self) -> bool:
        return self in (Result.REFUSED, Result.DENIED, Result.UNKNOWN)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row of the audit, and a line of its stream."""

    at_ms: int
    """Milliseconds since the epoch."""
    by: str
    """Who: their id, as a scheme of the contract knows it; otherwise the name that they gave. Empty: nobody knows."""
    did: str
    """What: `resolve`, `confirm resolve`, `show`."""
    result: Result
    saga_id: str = ""
    order_id: str = ""
    """Of an order that waits, or waited, for a second person."""
    reason: str = ""
    """Why they did it, in their words; or why it was refused."""
    scheme: str = ""
    """How we know who: a scheme of the contract, `token`, `loopback`, or `file` where they have the log itself."""
    trace_id: str = ""
    """Of the saga."""
    address: str = ""
    """Where the request came from; empty on the machine that has the log."""
    count: int = 1
    """How many it stands for, where there were too many refusals to keep each."""
    id: str = field(default_factory=lambda: token_hex(8))

    @property
    def has_note(self) -> bool:
        """Its reason is what somebody wrote, or looked for; otherwise it is ours."""
        return not (self.result.is_refusal or self.result is Result.FAILED)

    def __post_init__(self) -> None:
        for name in ("by", "did", "saga_id", "order_id", "reason", "address"):
            text: str = getattr(self, name)
            if len(text) > MAX_TEXT or not text.isascii():
                object.__setattr__(self, name, _storable(text))


def _storable(text: str) -> str:
    """Short enough, and without halves of surrogate pairs, which no database takes."""
    clipped = text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
    return clipped.encode(errors="replace").decode()


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries are wanted, newest first."""

    saga_id: str = ""
    """Or how it begins. What was asked by the beginning of this id, and refused, is found too."""
    by: str = ""
    since_ms: int = 0
    limit: int = 100
