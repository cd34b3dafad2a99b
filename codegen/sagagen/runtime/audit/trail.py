"""The port between operators' orders and what keeps the record of them: `AuditTrail`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sagagen.runtime.audit.entry import AuditEntry, AuditQuery

STRANGERS_S = 30 * 86400.0
"""How long, in seconds, refusals of people are kept whom nobody knows: anybody can cause them."""
MAX_PENDING = 1000
"""Orders that may wait for a second person at once."""


@dataclass(frozen=True, slots=True)
class PendingOrder:
    """An order that waits for a second person."""

    id: str
    saga_id: str
    did: str
    """The command: `resolve`, `send`."""
    members: str
    """What the order says, as the JSON object that was sent; it may hold a payload."""
    by: str
    at_ms: int
    expires_ms: int


class TooManyPending(Exception):
    """MAX_PENDING orders wait already."""

    def __init__(self) -> None:
        super().__init__(f"{MAX_PENDING} orders wait for a second person: confirm or withdraw some first")


class AuditTrail(Protocol):
    """What is done here is durable when the call returns; each raises JournalUnavailable if nothing can be written.

    An entry that belongs to a row of a saga goes with that row (`OperatorCommand.audit`), in one commit.
    """

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        """Keep entries; those that are kept already (by id) stay as they are."""
        ...

    async def has(self, entry_id: str) -> bool: ...

    async def search(self, query: AuditQuery) -> Sequence[AuditEntry]: ...

    async def place(self, order: PendingOrder, entry: AuditEntry) -> None:
        """Let an order wait, in one commit with its entry. Raises TooManyPending."""
        ...

    async def pending(self) -> Sequence[PendingOrder]:
        """All orders that wait, the oldest first; those that have expired among them until they are removed."""
        ...

    async def find(self, order_id: str) -> PendingOrder | None: ...

    async def close(self, order_id: str, entry: AuditEntry) -> bool:
        """Let an order wait no more, in one commit with the entry that says why. False: it does not wait."""
        ...
