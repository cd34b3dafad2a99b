"""A running project that moves from one engine to another: `MovingSagas`.

New sagas begin in the engine that is entered; those of before end in the engine that is left. Whatever names a saga by
its id or its key asks the one that is left first, as long as that may know it: it takes on nothing new, so what it does
not know it will never know. Once it has no open saga, and no key that still counts, nobody asks it any more.

Both are known by their port alone.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import structlog

from sagagen.runtime.clock import Clock, SystemClock
from sagagen.runtime.engine.moving_figures import MovingFigures
from sagagen.runtime.engine.port import (
    Acceptance,
    CallerQuery,
    Delivered,
    Delivery,
    DiskUse,
    Halted,
    Leaving,
    MovableRuntime,
    NotDelivered,
    Offer,
    OpenCount,
    OperatorCommand,
    Overloaded,
    RecordedSaga,
    Refusal,
    SagaPage,
    SagaQuery,
    SagaResult,
    SagaView,
    Started,
    TooManyRunning,
    UnknownSaga,
    UnreadableSaga,
)
from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import Accepted, LogEvent, SagaStatus
from sagagen.runtime.saga.figures import SagaFigures
from sagagen.runtime.saga.journal import JournalUnavailable

LOOK_S = 30.0
"""Time in seconds between two looks at whether anything remains in the engine that is left."""
REMEMBERED = 10_000
"""Of how many sagas it is remembered which engine has them."""
SLACK_S = 3600.0
"""Time in seconds that a key counts beyond its retention: barriers forget in rounds too, and must forget first."""
UNKNOWN_RETENTION_S = 30 * 86400.0
"""Least retention, in seconds, of sagas whose definition is gone: thirty days, the contract's default."""
_NEW, _OLD = "new ", "old "
"""Cursors begin with it: of the engine that is entered, and of the one that is left."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class _Placed:
    """Implements `RecordedSaga`: another one, whose cursor says which engine it is of."""

    recorded: RecordedSaga
    cursor: str

    @property
    def rows(self) -> Sequence[LogEvent]:
        return self.recorded.rows

    @property
    def accepted(self) -> Accepted:
        return self.recorded.accepted

    @property
    def hidden(self) -> str:
        return self.recorded.hidden

    @property
    def waiting_for(self) -> str:
        return self.recorded.waiting_for


class MovingSagas:
    """Implements `SagaRuntime` over two engines, which somebody else opens and closes. Use it by `async with`.

    `name` is what people call the engine that is left. `max_running`, and `running_per_caller` where that is limited,
    hold for both engines together.
    """

    def __init__(
        self,
        left: MovableRuntime,
        entered: MovableRuntime,
        *,
        name: str,
        max_running: int,
        running_per_caller: int | None = None,
        clock: Clock | None = None,
        look_s: float = LOOK_S,
    ) -> None:
        self._left = left
        self._entered = entered
        self._name = name
        self._max_running = max_running
        self._running_per_caller = running_per_caller
        self._clock = clock or SystemClock()
        self._look_s = look_s
        self._both_figures = MovingFigures(entered.figures, left.figures)
        self._remembered: dict[str, MovableRuntime] = {}
        self._accepting: set[asyncio.Task[Started]] = set()
        self._can_go = False
        """Nothing remains in the engine that is left. It never takes on anything, so that stays so."""

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look_again_and_again(), name="the engine that is left")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._looking.cancel()
        await asyncio.wait([self._looking])

    # -- what remains ---------------------------------------------------------------------------------------------

    @property
    def can_go(self) -> bool:
        """Nobody asks the engine that is left any more."""
        return self._can_go

    async def leaving(self) -> Leaving:
        """What remains in the engine that is left. Raises JournalUnavailable."""
        if not self._can_go:
            found = await remaining(self._left, self._name, self._clock.wall_ms())
            if not found.can_go:
                return found
            self._can_go = True
            self._remembered.clear()
            _logger.info(str(found))
        return Leaving(self._name, 0, None)

    async def _look_again_and_again(self) -> None:
        while not self._can_go:
            try:
                await self.leaving()
            except JournalUnavailable:
                pass  # readiness says it
            except Exception:
                _logger.exception("what remains in the engine that is left can't be told; it is asked again")
            await asyncio.sleep(self._look_s)

    # -- which engine has a saga ----------------------------------------------------------------------------------

    def _in_order(self, saga_id: str) -> Sequence[MovableRuntime]:
        """The engines that may know a saga: the one that is left first."""
        if self._can_go:
            return (self._entered,)
        known = self._remembered.get(saga_id)
        return (known,) if known else (self._left, self._entered)

    def _remember(self, saga_id: str, engine: MovableRuntime) -> None:
        self._remembered[saga_id] = engine
        if len(self._remembered) > REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    async def _first(
        self, saga_id: str, look: Callable[[MovableRuntime], Awaitable[_Found | None]]
    ) -> _Found | None:
        for engine in self._in_order(saga_id):
            if (found := await look(engine)) is not None:
                self._remember(saga_id, engine)
                return found
        return None

    async def started(self, saga_id: str, saga: str = "") -> Started | None:
        return await self._first(saga_id, lambda engine: engine.started(saga_id, saga))

    # -- starting sagas, and what comes for them ------------------------------------------------------------------

    async def accept(self, acceptance: Acceptance) -> Started:
        """As SagaRuntime says: a new one by the engine that is entered."""
        if self._can_go:
            return await self._entered.accept(acceptance)
        # In a task of its own: whoever asked may leave while the other engine is asked.
        accepting = asyncio.create_task(self._accept(acceptance), name="accepting")
        self._accepting.add(accepting)
        accepting.add_done_callback(self._accepting.discard)
        return await asyncio.shield(accepting)

    async def _accept(self, acceptance: Acceptance) -> Started:
        saga_id = acceptance.saga_id
        # A saga that nobody gave a key has an id that is new.
        may_be_known = acceptance.key and self._remembered.get(saga_id) is not self._entered
        if may_be_known and (found := await self._left.started(saga_id, acceptance.saga.name)):
            self._remember(saga_id, self._left)
            return found
        if refusal := await self._refusal(acceptance.caller):
            if found := await self._entered.started(saga_id, acceptance.saga.name):
                return found
            raise refusal
        self._remember(saga_id, self._entered)
        return await self._entered.accept(acceptance)

    async def _refusal(self, caller: str) -> Overloaded | None:
        if self.running >= self._max_running:
            return Overloaded(f"{self._max_running} sagas are under way")
        at_most = self._running_per_caller
        if at_most is not None and caller not in ("", ANONYMOUS) and await self.active_of(caller) >= at_most:
            return TooManyRunning(f"you have {at_most} active sagas, which is all that you may have")
        return None

    async def deliver(self, delivery: Delivery) -> Delivered:
        *earlier, last = self._in_order(delivery.saga_id)
        for engine in earlier:
            try:
                return await engine.deliver(delivery)
            except NotDelivered as error:
                if error.refusal is not Refusal.UNKNOWN_SAGA:
                    raise
        return await last.deliver(delivery)

    async def command(self, saga_id: str, command: OperatorCommand) -> None:
        *earlier, last = self._in_order(saga_id)
        for engine in earlier:
            try:
                await engine.command(saga_id, command)
            except UnknownSaga:
                continue
            return
        await last.command(saga_id, command)

    async def wait(
        self, saga_id: str, timeout_s: float, closing: "asyncio.Future[None] | None" = None
    ) -> SagaResult | None:
        await self.started(saga_id)
        engine = self._in_order(saga_id)[0]
        return await engine.wait(saga_id, timeout_s, closing)

    # -- looking at them ------------------------------------------------------------------------------------------

    @property
    def definitions(self) -> Definitions:
        return self._entered.definitions

    async def describe(self, saga_id: str) -> SagaView | None:
        return await self._first(saga_id, lambda engine: engine.describe(saga_id))

    async def find(self, saga_id: str) -> RecordedSaga | None:
        return await self._first(saga_id, lambda engine: engine.find(saga_id))

    async def ids(self, beginning: str, at_most: int) -> Sequence[str]:
        found = [await engine.ids(beginning, at_most) for engine in self._engines]
        return sorted({saga_id for ids in found for saga_id in ids})[:at_most]

    async def search(self, query: SagaQuery) -> Sequence[RecordedSaga | UnreadableSaga]:
        """Those of the engine that is entered come first: they are newer, unless the project moves back."""
        which, before = query.before[: len(_NEW)], query.before[len(_NEW) :]
        if which != _OLD:
            found = await self._entered.search(replace(query, before=before))
            if found:
                return [_placed(each, _NEW) for each in found]
            before = ""
        if self._can_go:
            return []
        return [_placed(each, _OLD) for each in await self._left.search(replace(query, before=before))]

    async def of_caller(self, query: CallerQuery) -> SagaPage:
        """In the order of `search`."""
        try:
            page = await self._entered.of_caller(query)
        except UnknownSaga:
            if self._can_go:
                raise
            return await self._left.of_caller(query)
        if page.last or self._can_go:
            return page
        room = query.limit - len(page.sagas)
        if not room:
            return SagaPage(page.sagas, page.sagas[-1].saga_id)
        older = await self._left.of_caller(replace(query, after="", limit=room))
        return SagaPage([*page.sagas, *older.sagas], older.last)

    async def open_counts(self) -> Sequence[OpenCount]:
        return [count for engine in self._engines for count in await engine.open_counts()]

    async def ended_counts(self) -> Mapping[tuple[str, SagaStatus], int]:
        counts = dict[tuple[str, SagaStatus], int]()
        for engine in self._engines:
            for key, count in (await engine.ended_counts()).items():
                counts[key] = counts.get(key, 0) + count
        return counts

    @property
    def figures(self) -> SagaFigures:
        return self._entered.figures if self._can_go else self._both_figures

    def offers(self, recorded: RecordedSaga) -> Sequence[Offer]:
        return self._entered.offers(recorded)

    async def halted(self) -> Halted:
        found = [await engine.halted() for engine in self._engines]
        undriven = sum((Counter(each.undriven) for each in found), Counter[str]())
        return Halted(undriven, tuple(saga for each in found for saga in each.wedged))

    def disk_use(self) -> DiskUse | None:
        uses = [use for engine in self._engines if (use := engine.disk_use())]
        if not uses:
            return None
        return DiskUse(sum(use.size_bytes for use in uses), any(use.is_full for use in uses))

    # -- how the engines are --------------------------------------------------------------------------------------

    @property
    def _engines(self) -> Sequence[MovableRuntime]:
        return (self._entered,) if self._can_go else (self._entered, self._left)

    @property
    def running(self) -> int:
        return sum(engine.running for engine in self._engines)

    async def active_of(self, caller: str) -> int:
        return sum([await engine.active_of(caller) for engine in self._engines])

    async def open_count(self) -> int:
        return sum([await engine.open_count() for engine in self._engines])

    async def last_ends_ms(self) -> Mapping[str, int]:
        ends = dict[str, int]()
        for engine in self._engines:
            for saga, ended_ms in (await engine.last_ends_ms()).items():
                ends[saga] = max(ended_ms, ends.get(saga, 0))
        return ends

    async def check(self) -> str:
        problem = await self._entered.check()
        return problem or ("" if self._can_go else await self._left.check())

    def room(self) -> int:
        """As SagaRuntime says."""
        return self._entered.room()

    def stop_accepting(self) -> None:
        for engine in (self._entered, self._left):
            engine.stop_accepting()


def _placed(found: RecordedSaga | UnreadableSaga, which: str) -> RecordedSaga | UnreadableSaga:
    cursor = which + found.cursor
    return replace(found, cursor=cursor) if isinstance(found, UnreadableSaga) else _Placed(found, cursor)


async def remaining(left: MovableRuntime, name: str, now_ms: int) -> Leaving:
    """What remains in an engine that takes on nothing new. Raises JournalUnavailable."""
    # Open ones first: a saga that ends between the two looks is counted twice, not missed.
    open_ = await left.open_count()
    until_ms = max(
        (
            ended_ms + round((_retention_s(left.definitions, saga) + SLACK_S) * 1000)
            for saga, ended_ms in (await left.last_ends_ms()).items()
        ),
        default=0,
    )
    return Leaving(name, open_, until_ms if until_ms > now_ms else None)


def _retention_s(definitions: Definitions, saga: str) -> float:
    known = definitions.retentions_s
    return known[saga] if saga in known else max(UNKNOWN_RETENTION_S, *known.values())
