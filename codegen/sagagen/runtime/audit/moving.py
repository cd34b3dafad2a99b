"""The audit while a project moves from one engine to another: what each has of it is seen as one."""

from collections.abc import Sequence

from sagagen.runtime.audit.entry import AuditEntry, AuditQuery
from sagagen.runtime.audit.trail import AuditTrail, PendingOrder


class MovingAudit:
    """Implements `AuditTrail`. What is recorded and placed goes to the audit of the engine that is entered."""

    def __init__(self, left: AuditTrail, entered: AuditTrail) -> None:
        self._left = left
        self._entered = entered

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        await self._entered.record(entries)

    async def has(self, entry_id: str) -> bool:
        return await self._entered.has(entry_id) or await self._left.has(entry_id)

    async def search(self, query: AuditQuery) -> Sequence[AuditEntry]:
        found = [*await self._entered.search(query), *await self._left.search(query)]
        return sorted(found, key=lambda entry: entry.at_ms, reverse=True)[: query.limit]

    async def place(self, order: PendingOrder, entry: AuditEntry) -> None:
        await self._entered.place(order, entry)

    async def pending(self) -> Sequence[PendingOrder]:
        found = [*await self._left.pending(), *await self._entered.pending()]
        return sorted(found, key=lambda order: order.at_ms)

    async def find(self, order_id: str) -> PendingOrder | None:
        return await self._entered.find(order_id) or await self._left.find(order_id)

    async def close(self, order_id: str, entry: AuditEntry) -> bool:
        return await self._entered.close(order_id, entry) or await self._left.close(order_id, entry)
