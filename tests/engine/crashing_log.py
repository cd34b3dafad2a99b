"""A saga log in memory that can be cut anywhere, to see what the engine makes of what is left."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from sagagen.runtime.saga.events import Accepted, LogEvent, SagaStatus
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.saga.journal import UNCHANGED
from sagagen.runtime.saga.logged import LoggedSaga, SagaHead, SagaRef
from sagagen.runtime.saga.search import SagaPlace


@dataclass
class Stored:
    ref: SagaRef
    rows: list[LogEvent]
    lazy: list[LogEvent] = field(default_factory=list)
    """Appended, and not yet on disk."""


@dataclass
class CrashingLog:
    """Keeps the log's promises: order, and durability of what is waited for. Dies when `dies` says so, after a commit.

    A log that is dead answers nobody any more, as a process that is gone.
    """

    keeps_subjects = False

    dies: Callable[[], bool] = lambda: False
    sagas: dict[str, Stored] = field(default_factory=dict)
    dead: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    is_full: bool = False

    async def accept(self, row: Accepted) -> SagaRef | None:
        await self._alive()
        if row.saga_id in self.sagas:
            return None
        ref = SagaRef(len(self.sagas) + 1, row.trace.trace_id)
        self.sagas[row.saga_id] = Stored(ref, [row])
        await self._committed()
        return ref

    async def append(
        self,
        ref: SagaRef,
        rows: Sequence[LogEvent],
        status: SagaStatus | None,
        wake_ms: int | None = UNCHANGED,
        at_steps: str = "",
    ) -> None:
        await self._alive()
        stored = self._of(ref)
        status = status or fold(stored.rows).status
        stored.rows += [*stored.lazy, *rows]
        stored.lazy = []
        assert fold(stored.rows).status is status
        await self._committed()
        if not status.is_active:
            self.over.set()

    async def append_later(self, ref: SagaRef, rows: Sequence[LogEvent]) -> None:
        await self._alive()
        self._of(ref).lazy += rows

    async def head(self, saga_id: str) -> SagaHead | None:
        if saga_id not in self.sagas:
            return None
        history = self.history(saga_id)
        accepted = history.accepted
        return SagaHead(
            saga_id=saga_id,
            saga=accepted.saga,
            version=accepted.version,
            digest=accepted.digest,
            caller=accepted.caller,
            fingerprint=accepted.fingerprint,
            trace_id=accepted.trace.trace_id,
            started_ms=accepted.at_ms,
            status=history.status,
            result=history.result,
        )

    async def find(self, saga_id: str) -> LoggedSaga | None:
        stored = self.sagas.get(saga_id)
        return LoggedSaga(stored.ref, tuple(stored.rows)) if stored else None

    async def waiting_count(self) -> int:
        return 0  # none is parked where the journal is not the log

    async def unchanged(self, before_ms: int, at_most: int) -> list[SagaPlace]:
        return []

    async def active_sagas(self) -> AsyncIterator[list[LoggedSaga]]:
        open_ones = [
            LoggedSaga(stored.ref, tuple(stored.rows))
            for saga_id, stored in self.sagas.items()
            if self.history(saga_id).status.is_active
        ]
        if open_ones:
            yield open_ones

    def gather_for(self, at_work: Callable[[float], int]) -> None:
        """Every commit is its own here."""

    async def last_ms(self) -> int:
        return max((row.at_ms for stored in self.sagas.values() for row in stored.rows), default=0)

    def history(self, saga_id: str) -> History:
        return fold(self.sagas[saga_id].rows)

    def after_crash(self, survives: Callable[[], bool], dies: Callable[[], bool]) -> "CrashingLog":
        """What the next process finds: every durable row, and of the others those that `survives` lets through."""
        kept = {
            saga_id: Stored(
                stored.ref,
                [row for row in [*stored.rows, *stored.lazy] if row.is_durable or survives()],
            )
            for saga_id, stored in self.sagas.items()
        }
        return CrashingLog(dies, kept)

    def kill(self) -> None:
        self.dead.set()

    def _of(self, ref: SagaRef) -> Stored:
        return next(stored for stored in self.sagas.values() if stored.ref == ref)

    async def _alive(self) -> None:
        await asyncio.sleep(0)
        if self.dead.is_set():
            await asyncio.Event().wait()

    async def _committed(self) -> None:
        if self.dies():
            self.kill()
            await asyncio.Event().wait()
