"""The audit on Restate, and orders that wait for a second person there: a gateway's half.

What a gateway sends is durable once Restate has taken it. What it looks up is what adapters have worked off: an entry
that was sent a moment ago may be missing from a list.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from sagagen.runtime.audit.entry import AuditEntry, AuditQuery, Result
from sagagen.runtime.audit.trail import MAX_PENDING, PendingOrder, TooManyPending
from sagagen.runtime.clock import Clock, SystemClock
from sagagen.runtime.restate.client import RestateClient, Unreachable, text
from sagagen.runtime.restate.entries import (
    ENTRY_COLUMNS,
    entry_of_line,
    entry_to_bytes,
    pending_from_bytes,
    pending_to_bytes,
    word,
)
from sagagen.runtime.restate.operators import ENTRY, ORDER, YES
from sagagen.runtime.restate.workflow_names import CLOSE, LOOK, RUN, audit_service, orders_service

TAKEN_S = 5.0
"""How long Restate may take, in seconds."""
SEEN_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses, in seconds, until an order that was placed is seen to wait. It waits anyhow."""
_BYTES = {"content-type": "application/octet-stream"}


class RestateAudit:
    """Implements `AuditTrail`."""

    def __init__(
        self, ingress: RestateClient, admin: RestateClient, project: str, clock: Clock | None = None
    ) -> None:
        self._ingress = ingress
        self._admin = admin
        self._project = project
        self._clock = clock or SystemClock()
        self._told: deque[str] = deque(maxlen=1000)

    def told(self, entry: AuditEntry) -> None:
        """Restate has it: it went with a saga's row."""
        self._told.append(entry.id)

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        await asyncio.gather(*map(self._record, entries))

    async def _record(self, entry: AuditEntry) -> None:
        service = audit_service(self._project, is_stranger=entry.result is Result.UNKNOWN)
        await self._send(f"/{service}/{entry.id}/{RUN}/send", entry_to_bytes(entry))
        self.told(entry)

    async def _send(self, path: str, body: bytes) -> None:
        answer = await self._ingress.ask("POST", path, body, _BYTES, TAKEN_S)
        if answer.status not in (200, 202):
            raise Unreachable(f"Restate has not taken what has to be audited: {answer.status}")

    async def has(self, entry_id: str) -> bool:
        return entry_id in self._told or bool(await self._entries(f"service_key = {text(entry_id)}", 1))

    async def search(self, query: AuditQuery) -> Sequence[AuditEntry]:
        conditions = [f"TRY_CAST({_column('at_ms')} AS BIGINT) >= {int(query.since_ms)}"]
        if query.by:
            conditions.append(f"{_column('by')} = {text(word(query.by))}")
        if query.saga_id:
            asked, of_saga = text(word(query.saga_id)), _column("saga_id")
            conditions.append(
                f"(starts_with({of_saga}, {asked}) OR ({of_saga} <> '' AND starts_with({asked}, {of_saga})))"
            )
        return await self._entries(" AND ".join(conditions), query.limit)

    async def _entries(self, condition: str, limit: int) -> Sequence[AuditEntry]:
        services = [audit_service(self._project, is_stranger=which) for which in (False, True)]
        rows = await self._rows(services, ENTRY, f"{condition} ORDER BY value_utf8 DESC LIMIT {int(limit)}")
        return [entry_of_line(row["value_utf8"]) for row in rows]

    async def place(self, order: PendingOrder, entry: AuditEntry) -> None:
        if len(await self.pending()) >= MAX_PENDING:
            raise TooManyPending
        path = f"/{orders_service(self._project)}/{order.id}"
        expired = AuditEntry(
            order.expires_ms,
            order.by,
            order.did,
            Result.REFUSED,
            order.saga_id,
            order.id,
            "nobody confirmed it in time",
            id=f"{order.id}-expired",
        )
        left_ms = max(0, order.expires_ms - self._clock.wall_ms())
        await self._send(f"{path}/{CLOSE}/send?delay={left_ms}ms", entry_to_bytes(expired))
        await self._send(f"{path}/{RUN}/send", entry_to_bytes(entry) + b"\n" + pending_to_bytes(order))
        self.told(entry)
        for pause_s in SEEN_S:
            if await self.find(order.id):
                break
            await asyncio.sleep(pause_s)

    async def pending(self) -> Sequence[PendingOrder]:
        rows = await self._rows([orders_service(self._project)], ORDER, f"TRUE LIMIT {MAX_PENDING}")
        orders = [pending_from_bytes(row["value_utf8"].encode()) for row in rows]
        return sorted(orders, key=lambda order: (order.at_ms, order.id))

    async def find(self, order_id: str) -> PendingOrder | None:
        found = await self._of_order(order_id, LOOK, b"")
        return pending_from_bytes(found) if found else None

    async def close(self, order_id: str, entry: AuditEntry) -> bool:
        is_closed = await self._of_order(order_id, CLOSE, entry_to_bytes(entry)) == YES
        if is_closed:
            self.told(entry)
        return is_closed

    async def _of_order(self, order_id: str, handler: str, body: bytes) -> bytes:
        path = f"/{orders_service(self._project)}/{word(order_id)}/{handler}"
        answer = await self._ingress.ask("POST", path, body, _BYTES, TAKEN_S)
        if answer.status != 200:
            raise Unreachable(f"Restate has refused to look for an order: {answer.status}")
        return answer.body

    async def _rows(self, services: Sequence[str], key: str, condition: str) -> list[dict[str, Any]]:
        names = ", ".join(map(text, services))
        return await self._admin.query(
            f"SELECT value_utf8 FROM state WHERE service_name IN ({names}) AND key = '{key}' AND {condition}"
        )


def _column(name: str) -> str:
    return f"split_part(value_utf8, ' ', {ENTRY_COLUMNS.index(name) + 1})"
