"""Keeps the audit, and tells it to the log stream `audit`."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Self

import structlog

from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.audit.refusals import RefusalAllowance
from sagagen.runtime.audit.trail import AuditTrail

STREAM = "audit"
"""Name of the logger, and the value of `stream` on each of its lines."""

_stream: structlog.stdlib.BoundLogger = structlog.get_logger(STREAM)
_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Auditor:
    """Open one with `async with Auditor.open(trail) as auditor`."""

    def __init__(
        self, trail: AuditTrail, monotonic_s: Callable[[], float] = time.monotonic, *, has_stream: bool = True
    ) -> None:
        """`has_stream`: this process has a log stream. A command has none, and its output is for a person."""
        self.trail = trail
        self._has_stream = has_stream
        self._refusals = RefusalAllowance(monotonic_s)
        self._has_beyond = asyncio.Event()
        """Some refusals were not kept: their sum is due when the minute is over."""

    @classmethod
    @asynccontextmanager
    async def open(cls, trail: AuditTrail, *, has_stream: bool = True) -> AsyncGenerator[Self]:
        """With a task that tells each minute how many refusals were not kept. The last of them on leaving."""
        auditor = cls(trail, has_stream=has_stream)
        task = asyncio.create_task(auditor.sum_up_each_minute(), name="audit")
        try:
            yield auditor
        finally:
            task.cancel()
            await asyncio.wait([task])
            await auditor.sum_up()

    async def keep(self, entry: AuditEntry) -> None:
        """Durably, then as a line. Raises JournalUnavailable: then it must not happen."""
        await self.trail.record([entry])
        self.tell(entry)

    async def refused(self, entry: AuditEntry) -> None:
        """Keep a refusal, or count it where there are too many. It is refused whether or not it can be kept."""
        if self._refusals.is_over:
            await self.sum_up()
        if self._refusals.takes(entry):
            await self._keep_if_possible(entry)
        else:
            self._has_beyond.set()

    def tell(self, entry: AuditEntry) -> None:
        """As a line of the stream; the row is somebody else's.

        What people write stays in the log: it may name others.
        """
        if not self._has_stream:
            return
        given = {
            "by": entry.by,
            "did": entry.did,
            "result": str(entry.result),
            "saga_id": entry.saga_id,
            "order_id": entry.order_id,
            "reason": "" if entry.has_note else entry.reason,
            "scheme": entry.scheme,
            "address": entry.address,
            "trace_id": entry.trace_id,
        }
        count = {"count": entry.count} if entry.count > 1 else {}
        # Empty ones too would be looked up elsewhere, or say nothing.
        named = {name: value for name, value in given.items() if value}
        _stream.info(f"{entry.did}: {entry.result}", stream=STREAM, audit_id=entry.id, **named, **count)

    async def sum_up(self) -> None:
        """Keep how many refusals were not."""
        self._has_beyond.clear()
        for entry in self._refusals.sums():
            await self._keep_if_possible(entry)

    async def sum_up_each_minute(self) -> None:
        while True:
            await self._has_beyond.wait()
            await asyncio.sleep(self._refusals.left_s)
            await self.sum_up()

    async def _keep_if_possible(self, entry: AuditEntry) -> None:
        try:
            await self.trail.record([entry])
        except Exception as error:
            if not self._has_stream:
                raise
            _logger.error("a refusal is in the log stream alone, not in the audit", error=str(error))
        self.tell(entry)
