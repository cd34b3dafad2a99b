"""The audit where a gateway keeps nothing: its lines go to the log stream, and the newest can be looked at."""

from collections import deque
from collections.abc import Sequence

from sagagen.runtime.audit.entry import AuditEntry, AuditQuery
from sagagen.runtime.audit.trail import PendingOrder
from sagagen.runtime.saga.journal import JournalUnavailable

KEPT = 1000


class StreamAudit:
    """Implements `AuditTrail`. What it is given is durable where the log stream `audit` goes."""

    def __init__(self) -> None:
        self._newest: deque[AuditEntry] = deque(maxlen=KEPT)

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        known = {entry.id for entry in self._newest}
        self._newest.extendleft(entry for entry in entries if entry.id not in known)

    async def has(self, entry_id: str) -> bool:
        return any(entry.id == entry_id for entry in self._newest)

    async def search(self, query: AuditQuery) -> Sequence[AuditEntry]:
        return [entry for entry in self._newest if _matches(entry, query)][: query.limit]

    async def place(self, order: PendingOrder, entry: AuditEntry) -> None:
        raise JournalUnavailable("no order can wait for a second person where sagas are on Restate")

    async def pending(self) -> Sequence[PendingOrder]:
        return ()

    async def find(self, order_id: str) -> PendingOrder | None:
        return None

    async def close(self, order_id: str, entry: AuditEntry) -> bool:
        return False


def _matches(entry: AuditEntry, query: AuditQuery) -> bool:
    asked, of_saga = query.saga_id, entry.saga_id
    is_about = of_saga.startswith(asked) or (bool(of_saga) and asked.startswith(of_saga))
    return is_about and entry.at_ms >= query.since_ms and query.by in ("", entry.by)
