"""A saga log in memory that commits in groups, refuses now and then, and loses its tail when its process dies."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from sagagen.runtime.clock import sleep_unless_woken
from sagagen.runtime.saga.codec import decode, encode
from sagagen.runtime.saga.events import Accepted, LogEvent, SagaStatus
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.saga.journal import UNCHANGED, JournalUnavailable
from sagagen.runtime.saga.logged import LoggedSaga, SagaHead, SagaRef
from sagagen.runtime.saga.search import BEGINNING, DueSaga, Place, SagaPlace
from sagagen.testing.virtual_time import Life


@dataclass(frozen=True)
class Batch:
    """What one write of the engine's added: it is on disk as a whole, or not at all."""

    number: int
    """Of the saga."""
    rows: tuple[LogEvent, ...]
    wake_ms: int | None = UNCHANGED


@dataclass
class Disk:
    """What is left of a log from one process to the next."""

    batches: list[Batch] = field(default_factory=list[Batch])
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    durable: int = 0
    """So many of the batches are on disk; the rest is in the memory of the process."""

    def rows(self, saga_id: str, at_most: int | None = None) -> list[LogEvent]:
        number = self.numbers.get(saga_id)
        return [row for batch in self.batches[:at_most] if batch.number == number for row in batch.rows]

    def wake_ms(self, number: int) -> int | None:
        """What is durable of when the saga has something to do again."""
        said = (batch.wake_ms for batch in reversed(self.batches[: self.durable]) if batch.number == number)
        return next((wake_ms for wake_ms in said if wake_ms != UNCHANGED), None)

    def lose(self, keep: int) -> None:
        """The process died. `keep` batches had reached the disk; what comes back has been through the rows' codec."""
        kept = self.batches[:keep]
        self.batches = [
            replace(batch, rows=decode(encode(batch.rows)) if batch.rows else ()) for batch in kept
        ]
        begun = {batch.number for batch in self.batches}
        self.numbers = {saga_id: number for saga_id, number in self.numbers.items() if number in begun}
        self.durable = keep


@dataclass(eq=False)
class LosingLog:
    """One process's way to a disk; has what the engine asks of a SagaLog, and implements Journal.

    `check` sees a saga's history after each write. `dies` is asked around commits: it may end the process there; and
    `wrote` once a write is part of the log, before it is on disk.
    """

    keeps_subjects = False

    disk: Disk
    life: Life
    random: Random
    check: Callable[[History, Sequence[LogEvent]], None]
    dies: Callable[[str], None]
    refuses: Callable[[], bool]
    slowest_s: float
    wrote: Callable[[], None]
    is_full: bool = False
    _histories: dict[int, History] = field(default_factory=dict[int, History])
    _waiting: "list[tuple[int, asyncio.Future[None]]]" = field(default_factory=list)
    _is_committing: bool = False

    def __post_init__(self) -> None:
        for saga_id, number in self.disk.numbers.items():
            self._histories[number] = fold(self.disk.rows(saga_id))

    def history(self, saga_id: str) -> History:
        """With the rows that are not on disk yet."""
        return self._histories[self.disk.numbers[saga_id]]

    async def accept(self, row: Accepted) -> SagaRef | None:
        await self._begin()
        number = self.disk.numbers.get(row.saga_id)
        if number is not None:
            await self._durable()
            return None
        number = self.disk.numbers[row.saga_id] = len(self.disk.numbers) + 1
        self._histories[number] = History.begin(row)
        self.disk.batches.append(Batch(number, (row,)))
        self.wrote()
        await self._durable()
        return SagaRef(number, row.trace.trace_id)

    async def append(
        self,
        ref: SagaRef,
        rows: Sequence[LogEvent],
        status: SagaStatus | None,
        wake_ms: int | None = UNCHANGED,
        at_steps: str = "",
    ) -> None:
        await self._begin()
        before = self._histories[ref.number].status
        self._add(ref, rows, wake_ms)
        assert self._histories[ref.number].status is (status or before), "the log has the saga's status"
        await self._durable()

    async def append_later(self, ref: SagaRef, rows: Sequence[LogEvent]) -> None:
        await self._begin()
        assert not any(row.is_durable for row in rows), "what must be durable is waited for"
        self._add(ref, rows)

    def _add(self, ref: SagaRef, rows: Sequence[LogEvent], wake_ms: int | None = UNCHANGED) -> None:
        history = self._histories[ref.number] = self._histories[ref.number].with_rows(rows)
        self.disk.batches.append(Batch(ref.number, tuple(rows), wake_ms))
        self.check(history, rows)
        self.wrote()

    async def rest(self, seconds: float, wake: asyncio.Event) -> None:
        await sleep_unless_woken(seconds, wake)

    async def head(self, saga_id: str) -> SagaHead | None:
        rows = await self._read(saga_id)
        if not rows:
            return None
        history = fold(rows)
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
        rows = await self._read(saga_id)
        return self._logged(saga_id, rows) if rows else None

    async def active_sagas(self) -> AsyncIterator[list[LoggedSaga]]:
        for saga_id in list(self.disk.numbers):
            rows = await self._read(saga_id)
            wake_ms = self.disk.wake_ms(self.disk.numbers[saga_id])
            if rows and (wake_ms == 0 or (wake_ms is None and fold(rows).status.is_active)):
                yield [self._logged(saga_id, rows)]

    async def unchanged(self, before_ms: int, at_most: int) -> list[SagaPlace]:
        return []

    async def waiting_count(self) -> int:
        return len(await self.due(BEGINNING, 2**63, len(self.disk.numbers)))

    async def due(self, after: Place, until_ms: int, at_most: int) -> list[DueSaga]:
        await asyncio.sleep(0)
        places = (
            (Place(self.disk.wake_ms(number) or 0, number), saga_id)
            for saga_id, number in self.disk.numbers.items()
        )
        waiting = [(place, saga_id) for place, saga_id in sorted(places) if 0 < place.wake_ms <= until_ms]
        return [DueSaga(saga_id, place) for place, saga_id in waiting if place > after][:at_most]

    def gather_for(self, at_work: Callable[[float], int]) -> None:
        """How long a commit waits for others is drawn."""

    async def last_ms(self) -> int:
        return max((row.at_ms for batch in self.disk.batches for row in batch.rows), default=0)

    async def _read(self, saga_id: str) -> list[LogEvent]:
        await asyncio.sleep(0)
        return self.disk.rows(saga_id, self.disk.durable)

    def _logged(self, saga_id: str, rows: Sequence[LogEvent]) -> LoggedSaga:
        first = rows[0]
        assert isinstance(first, Accepted)
        number = self.disk.numbers[saga_id]
        return LoggedSaga(SagaRef(number, first.trace.trace_id), tuple(rows), self.disk.wake_ms(number))

    async def _begin(self) -> None:
        if self.life.is_over:
            await asyncio.Event().wait()
        if self.refuses():
            raise JournalUnavailable("the disk has no room")

    async def _durable(self) -> None:
        """Return when all that was added so far is on disk."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((len(self.disk.batches), done))
        self.dies("before a commit")
        if not self._is_committing:
            self._is_committing = True
            loop.call_later(self.random.uniform(0, self.slowest_s), self._begin_commit)
        await done

    def _begin_commit(self) -> None:
        takes_s = self.random.uniform(0, self.slowest_s)
        asyncio.get_running_loop().call_later(takes_s, self._end_commit, len(self.disk.batches))

    def _end_commit(self, written: int) -> None:
        if self.life.is_over:
            return
        self.disk.durable = written
        self.dies("after a commit")
        if self.life.is_over:
            return
        for needs, done in self._waiting:
            if needs <= written and not done.done():
                done.set_result(None)
        self._waiting = [each for each in self._waiting if each[0] > written]
        self._is_committing = bool(self._waiting)
        if self._waiting:
            self._begin_commit()
