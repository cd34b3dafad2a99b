"""The engine that runs in a gateway's own process, on a saga log of its own.

Structure: one asyncio.TaskGroup holds a task for each saga that runs. However a saga begins here (accepted, found, or
resumed), its task begins it, drives it, and then forgets it: memory holds only what runs, and the log answers for
everything else. The caller of `accept` only waits: a client that hangs up cancels its wait, never the saga.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random, SystemRandom
from types import TracebackType
from typing import Self

import structlog

from sagagen.runtime.clock import Clock, Grace, SystemClock
from sagagen.runtime.engine.acceptance import accepted_row, index_of, started_of, subject_of
from sagagen.runtime.engine.admission import Admission
from sagagen.runtime.engine.at_rest import disk_use_of
from sagagen.runtime.engine.caller_sagas import CallerSagas
from sagagen.runtime.engine.calls import DEFAULT_LIMIT, Calls
from sagagen.runtime.engine.context import EngineContext, OnResult
from sagagen.runtime.engine.deaths import TRIALS_S, Deaths, Record, answered
from sagagen.runtime.engine.deliveries import RETRY_AFTER_S, was_kept_or_over
from sagagen.runtime.engine.driver import SagaDriver
from sagagen.runtime.engine.halted import halted
from sagagen.runtime.engine.log_port import DrivenElsewhere, EngineLog
from sagagen.runtime.engine.mailbox import MailboxClosed, SagaMailbox
from sagagen.runtime.engine.narration import Narrator
from sagagen.runtime.engine.parking import Wheel
from sagagen.runtime.engine.port import (
    Acceptance,
    Delivered,
    Delivery,
    DiskUse,
    Halted,
    NotDelivered,
    Overloaded,
    RecordedSaga,
    Refusal,
    Started,
    TooManyRunning,
)
from sagagen.runtime.engine.row_metrics import begin_at_zero, count_rows
from sagagen.runtime.engine.spans import resumed_span
from sagagen.runtime.engine.time import FOLLOW_S, SagaTime
from sagagen.runtime.identity import run_id
from sagagen.runtime.messages.apart import LARGE_BYTES, apart
from sagagen.runtime.model.definition import Saga, longest_timeout_s
from sagagen.runtime.rpc.transport import Transport
from sagagen.runtime.saga.commands import (
    CommandRejected,
    Offer,
    OperatorCommand,
    UnknownSaga,
    current_calls,
    offers,
    row_for,
)
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import Accepted, Resumed, SagaStatus
from sagagen.runtime.saga.figures import SagaFigures
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.saga.journal import Journal, JournalUnavailable
from sagagen.runtime.saga.logged import Found, LoggedSaga, SagaHead, SagaRef
from sagagen.runtime.saga.result import SagaResult
from sagagen.runtime.saga.search import CallerQuery, OpenCount, SagaPage, SagaQuery, UnreadableSaga
from sagagen.runtime.saga.view import SagaView, view_of
from sagagen.runtime.telemetry import spans as tracing

MAX_WAITING_SAGAS = 1_000_000
"""Sagas that only wait, beyond which no saga that may wait is accepted."""
MAX_RUNNING = 10_000
"""Sagas that may run at once. Beyond it new ones are turned away; those that were accepted go on."""
GRACE_S = 10.0
DELIVERY_TRIES = 5
"""How often a saga's task may end just before an event gets to it."""
LATE_S = 60.0
"""A saga that wakes so many seconds after its time has missed it."""
ANSWERED_S = 1.0
"""Time in seconds that the answer to a call may need beyond the call's timeout."""
CANCEL_BEFORE_END_S = 2.0
"""Time in seconds before the end of the grace period at which running calls are given up."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class SagaEntry:
    """A saga that has a task."""

    mailbox: SagaMailbox = field(default_factory=SagaMailbox)
    accepted: "asyncio.Future[History | SagaHead | Exception]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """How it began: its history if it runs, its head if it is over or can't run now."""
    is_new: bool = False
    """It was accepted in this process, and not before."""
    counts_for: str | None = None
    """The caller among whose active sagas this one is counted, where they are; None if it is not."""
    driver: SagaDriver[SagaRef] | None = None
    task: "asyncio.Task[None] | None" = None

    def started(self, *, is_new: bool, found: History | SagaHead) -> Started:
        return started_of(self.driver.durable if self.driver else found, is_new=is_new)


Begin = Callable[[SagaEntry], Awaitable[History | SagaHead]]
"""How a saga begins in this process: it gives the entry a driver if the saga can go on, and says what the log has."""


class EmbeddedEngine:
    """Implements `SagaRuntime`. Use it by `async with`: entering resumes all active sagas, leaving drains.

    `sagas` are all versions that are kept; `transports` has an entry for each service they call. `grace_s` is the time
    in seconds that draining may take, if the process has no `grace` of its own. `on_result` is called with each result,
    once that is durable. `deaths` counts those of this process, if anybody does. `is_alone` says that no other engine
    can have a run of a saga: then none claims its id first. `max_running_per_caller` is how many active sagas one
    caller may have, if that is limited. `is_clock_set` says that people and NTP set the wall clock: then it is looked
    at again and again. `narrator` tells a person what becomes of sagas. Clock, random and journal (what sagas write to,
    and wait with: the log) are arguments so that tests can choose them.
    """

    def __init__(
        self,
        *,
        sagas: Sequence[Saga],
        log: EngineLog,
        journal: Journal[SagaRef] | None = None,
        transports: Mapping[str, Transport],
        clock: Clock | None = None,
        random: Random | None = None,
        grace_s: float = GRACE_S,
        grace: Grace | None = None,
        max_running: int = MAX_RUNNING,
        max_running_per_caller: int | None = None,
        max_waiting_sagas: int = MAX_WAITING_SAGAS,
        calls_per_service: int = DEFAULT_LIMIT,
        on_result: OnResult | None = None,
        deaths: Deaths | None = None,
        is_alone: bool = True,
        narrator: Narrator | None = None,
        is_clock_set: bool = True,
    ) -> None:
        self._definitions = Definitions(sagas)
        self._log = log
        self._journal = journal or log
        self._clock = clock or SystemClock()
        self._is_clock_set = is_clock_set
        self._calls = Calls(transports, limit=calls_per_service, clock=self._clock)
        self._random = random or Random(SystemRandom().getrandbits(256))
        self._on_result = on_result
        self._grace = grace or Grace(grace_s)
        self._max_running = max_running
        self._max_running_per_caller = max_running_per_caller
        self._of_callers: CallerSagas | None = None
        self._max_waiting_sagas = max_waiting_sagas
        self._parked = 0
        """Sagas that only wait."""
        self._is_alone = is_alone
        self._narrator = narrator
        self._admission = Admission()
        self._deaths = deaths or Deaths(None)
        self._entries: dict[str, SagaEntry] = {}
        self._waking: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._group = asyncio.TaskGroup()
        self._is_draining = False
        _check_services(sagas, transports)
        for saga in sagas:
            begin_at_zero(saga.name, saga.version)

    async def __aenter__(self) -> Self:
        self._context = EngineContext(
            journal=self._journal,
            calls=self._calls,
            time=SagaTime(self._clock, await self._log.last_ms(), is_set=self._is_clock_set),
            random=self._random,
            on_result=self._on_result,
            admission=self._admission,
            is_alone=self._is_alone,
            parks=self._journal is self._log,
            narrator=self._narrator,
        )
        self._log.gather_for(self._at_work)
        self._parked = await self._log.waiting_count()
        if self._max_running_per_caller is not None:
            self._of_callers = CallerSagas(self._max_running_per_caller, await self._log.active_by_caller())
        self._wheel = Wheel(self._log, self._context.time, self._free, self._wake)
        if self._is_clock_set:
            self._following = asyncio.create_task(self._follow_clock(), name="engine time")
        await self._group.__aenter__()
        try:
            await self._resume_all()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        self._waking = asyncio.create_task(self._wheel.run(), name="waking sagas")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_accepting()
        try:
            await self._drain()
        finally:
            if self._following:
                self._following.cancel()
            if self._waking:
                self._waking.cancel()
            for entry in self._entries.values():
                if entry.task:
                    entry.task.cancel()
            # No saga's task fails, so the group only waits here; the body's own error goes on as it is.
            await self._group.__aexit__(None, None, None)

    async def _follow_clock(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_S)
            self._context.time.follow(is_idle=not self._entries)

    def _free(self) -> int:
        """How many more sagas may run."""
        return 0 if self._is_draining else self._max_running - len(self._entries)

    def _wake(self, saga_id: str) -> None:
        if saga_id not in self._entries:
            self._enter(saga_id, partial(self._take_up, saga_id))

    def _at_work(self, since_s: float) -> int:
        """Sagas that wait for the log or will write to it soon, if they do not rest: they wait for no slow call."""
        return len(self._entries) - self._calls.begun_before(since_s)

    @property
    def definitions(self) -> Definitions:
        return self._definitions

    async def check(self) -> str:
        if self._is_draining:
            return "it is stopping"
        if self._waking and self._waking.done():
            return "sagas that wait are not woken"
        return self._context.time.problem()

    @property
    def running(self) -> int:
        """Sagas that run in this process."""
        return len(self._entries)

    async def active_of(self, caller: str) -> int:
        """How many active sagas a caller has, where that is limited; 0 for those that nobody knows."""
        return self._of_callers.of(caller) if self._of_callers else 0

    async def started(self, saga_id: str, saga: str = "") -> Started | None:
        """As `accept` finds a saga that was accepted before; None if none was. Nothing begins."""
        if entry := self._entries.get(saga_id):
            found = await asyncio.shield(entry.accepted)
            if isinstance(found, Exception):
                raise found
            return entry.started(is_new=False, found=found)
        head = await self._log.head(saga_id)
        return started_of(head, is_new=False) if head else None

    async def open_count(self) -> int:
        """How many sagas of the log have not ended."""
        return sum(each.count for each in await self._log.open_counts())

    async def last_ends_ms(self) -> Mapping[str, int]:
        """When the last saga of each definition has ended, ms since the epoch, of those that the log keeps."""
        return await self._log.last_ends_ms()

    async def wait_until_idle(self) -> None:
        """Return when no saga runs in this process: each has ended, is stuck, or was stopped."""
        while tasks := [entry.task for entry in self._entries.values() if entry.task]:
            await asyncio.wait(tasks)

    def stop_accepting(self) -> None:
        self._is_draining = True
        self._deaths.end()
        for entry in self._entries.values():
            entry.mailbox.stop()

    async def accept(self, acceptance: Acceptance) -> Started:
        entry = self._entries.get(acceptance.saga_id)
        is_first = entry is None
        if entry is None:
            if refusal := self._refusal(acceptance):
                return await self._find_or(acceptance.saga_id, refusal)
            self._admission.join(acceptance.saga_id, self._clock.monotonic_s())
            entry = self._enter(acceptance.saga_id, partial(self._accept, acceptance))
            self._count(entry, acceptance.caller, is_active=True)  # at once: others come before it is on disk
        found = await asyncio.shield(entry.accepted)
        if isinstance(found, Exception):
            raise found
        return entry.started(is_new=is_first and entry.is_new, found=found)

    async def deliver(self, delivery: Delivery) -> Delivered:
        for _ in range(DELIVERY_TRIES):
            entry = self._entries.get(delivery.saga_id) or await self._reach(delivery)
            if isinstance(entry, Delivered):
                return entry
            try:
                is_new = await entry.mailbox.deliver(delivery)
            except MailboxClosed:
                continue  # its task ended just before: the log has what it left
            assert entry.driver, "only a driver reads the mailbox"
            accepted = entry.driver.durable.accepted
            return _delivered(accepted, is_new=is_new)
        raise NotDelivered(Refusal.NOT_READY, "the saga ends its waits and begins new ones", RETRY_AFTER_S)

    async def _reach(self, delivery: Delivery) -> "SagaEntry | Delivered":
        """The saga's entry, begun if the log has it and it is open. What is over can only be told again."""
        logged = await self._log.find(delivery.saga_id)
        if logged is None or logged.accepted.saga != delivery.saga:
            raise _unknown(delivery)
        history = fold(logged.rows)
        if history.ended:
            was_kept_or_over(delivery, self._definitions.of(logged.accepted), history)
            return _delivered(logged.accepted, is_new=False)
        if logged.is_elsewhere:
            raise DrivenElsewhere(delivery.saga_id)
        if missing := self._definitions.missing(logged.accepted):
            raise NotDelivered(
                Refusal.NOT_READY, f"the saga waits for a deployment: {missing}", RETRY_AFTER_S
            )
        if self._is_draining:
            raise NotDelivered(Refusal.NOT_READY, "the engine is stopping", RETRY_AFTER_S)
        begin = partial(self._take_up, delivery.saga_id)
        return self._entries.get(delivery.saga_id) or self._enter(delivery.saga_id, begin)

    async def wait(
        self, saga_id: str, timeout_s: float, closing: "asyncio.Future[None] | None" = None
    ) -> SagaResult | None:
        if entry := self._entries.get(saga_id):
            answered = entry.mailbox.answered
            ends = {answered, closing} if closing else {answered}
            with entry.mailbox.waiting():
                await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            return answered.result() if answered.done() else None
        head = await self._log.head(saga_id)
        return head.result if head else None

    async def find(self, saga_id: str) -> LoggedSaga | None:
        return await self._log.find(saga_id)

    async def ids(self, beginning: str, at_most: int) -> Sequence[str]:
        return await self._log.ids(beginning, at_most)

    async def search(self, query: SagaQuery) -> Sequence[LoggedSaga | UnreadableSaga]:
        return await self._log.search(query)

    async def of_caller(self, query: CallerQuery) -> SagaPage:
        return await self._log.of_caller(query)

    async def open_counts(self) -> Sequence[OpenCount]:
        return await self._log.open_counts()

    async def ended_counts(self) -> Mapping[tuple[str, SagaStatus], int]:
        return await self._log.ended_counts()

    @property
    def figures(self) -> SagaFigures:
        return self._log.figures

    def offers(self, recorded: RecordedSaga) -> Sequence[Offer]:
        saga = self._definitions.of(recorded.accepted)
        return tuple(offers(saga, fold(recorded.rows))) if saga else ()

    async def halted(self) -> Halted:
        return await halted(self._log, self._definitions, self._entries, self._context.time.now_ms())

    def disk_use(self) -> DiskUse | None:
        return disk_use_of(self._log)

    async def describe(self, saga_id: str) -> SagaView | None:
        entry = self._entries.get(saga_id)
        if entry and entry.driver:
            return view_of(entry.driver.durable, entry.driver.saga)
        logged = await self._log.find(saga_id)
        if logged is None:
            return None
        history = fold(logged.rows)
        return view_of(
            history,
            self._definitions.of(history.accepted),
            self._definitions.missing(history.accepted) if history.status.is_active else "",
        )

    async def command(self, saga_id: str, command: OperatorCommand) -> None:
        entry = self._entries.get(saga_id)
        if entry is None:
            head = await self._log.head(saga_id)
            if head is None:
                raise UnknownSaga(saga_id)
            if not head.status.is_open:
                await self._command_when_over(saga_id, command)
                return
            if self._is_draining:
                raise CommandRejected("the engine is stopping: repeat it after the restart")
            entry = self._entries.get(saga_id) or self._enter(saga_id, partial(self._take_up, saga_id))
        await entry.mailbox.submit(command)

    async def _command_when_over(self, saga_id: str, command: OperatorCommand) -> None:
        """Nothing is left to do, but what is asked for may have been done. Raises CommandRejected if it was not."""
        logged = await self._log.find(saga_id)
        if logged is None:
            raise UnknownSaga(saga_id)
        row_for(
            command, self._definitions.of(logged.accepted), fold(logged.rows), self._context.time.now_ms()
        )

    def _refusal(self, acceptance: Acceptance) -> Overloaded | None:
        if self._is_draining:
            return Overloaded("the engine is stopping")
        if self._of_callers and self._of_callers.is_full(acceptance.caller):
            return TooManyRunning(
                f"you have {self._of_callers.at_most} active sagas, which is all that you may have"
            )
        if len(self._entries) >= self._max_running:
            return Overloaded(f"{self._max_running} sagas are under way")
        if self._parked >= self._max_waiting_sagas and not acceptance.saga.is_line:
            return Overloaded(f"{self._parked} sagas wait for an event, or for time to pass")
        if self._log.is_full:
            return Overloaded("the saga log can't keep up")
        if not self._admission.room(self._clock.monotonic_s()):
            return Overloaded("sagas that were accepted before still wait for their first call")
        return None

    def _count(self, entry: SagaEntry, caller: str, *, is_active: bool) -> None:
        """Count a saga among those of its caller, or no more. A repeat does nothing."""
        if self._of_callers is None or is_active == (entry.counts_for is not None):
            return
        if is_active:
            self._of_callers.begin(caller)
        else:
            self._of_callers.end(caller)
        entry.counts_for = caller if is_active else None

    def room(self) -> int:
        """As SagaRuntime says."""
        return self._admission.room(self._clock.monotonic_s())

    async def _find_or(self, saga_id: str, refusal: Overloaded) -> Started:
        found = await self.started(saga_id)  # a replay costs little, so it passes admission
        if found is None:
            raise refusal
        return found

    def _enter(self, saga_id: str, begin: Begin) -> SagaEntry:
        """The one way to a driver: whatever begins a saga here, its task is this entry's, and ends with it."""
        entry = self._entries[saga_id] = SagaEntry()
        entry.task = self._group.create_task(self._run(saga_id, entry, begin), name=saga_id)
        return entry

    async def _run(self, saga_id: str, entry: SagaEntry, begin: Begin) -> None:
        """A saga's task: begin, drive, forget."""
        try:
            entry.accepted.set_result(await _begun(entry, begin))
            if entry.driver:
                await entry.driver.drive()
        finally:
            self._forget(saga_id, entry)
            if entry.driver and entry.driver.parked_until_ms:
                self._parked += 1
                self._wheel.add(saga_id, entry.driver.parked_until_ms)

    async def _accept(self, acceptance: Acceptance, entry: SagaEntry) -> History | SagaHead:
        """Put a saga into the log, or go on with what the log has of it."""
        context = self._context
        at_ms, run = context.time.now_ms(), run_id(context.random)
        if len(acceptance.input) > LARGE_BYTES:
            row = await apart(lambda: accepted_row(acceptance, at_ms, run, is_contested=not context.is_alone))
        else:
            row = accepted_row(acceptance, at_ms, run, is_contested=not context.is_alone)
        index = index_of(acceptance, row.started_ms) if acceptance.saga.index else ()
        if self._log.keeps_subjects and (subject := subject_of(acceptance, row.started_ms)):
            ref = await self._log.accept(row, index, subject)
        else:
            ref = await (self._log.accept(row, index) if index else self._log.accept(row))
        if ref is None:
            self._count(entry, acceptance.caller, is_active=False)  # it was counted when it was new
            # It is not new, and whatever it goes on with, it leaves no other waiting for a first call.
            self._admission.leave(acceptance.saga_id, self._clock.monotonic_s())
            return await self._go_on(acceptance.saga_id, entry)
        history = History.begin(row)
        count_rows(row, [row])
        entry.is_new = True
        entry.driver = SagaDriver(acceptance.saga, ref, history, context, entry.mailbox)
        entry.driver.is_in_line = True
        return history

    async def _go_on(self, saga_id: str, entry: SagaEntry) -> History | SagaHead:
        """Go on with a saga that was accepted before and that no task drives, if it has something to do.

        Such a saga is stuck, over, or waits: for an event, for its time or for a deployment; or its acceptance reached
        the disk although the disk reported a failure.
        """
        return await self._from_log(saga_id, entry, wakes=False)

    async def _take_up(self, saga_id: str, entry: SagaEntry) -> History | SagaHead:
        """The same, and a saga that waits is woken: there is something for it."""
        return await self._from_log(saga_id, entry, wakes=True)

    async def _from_log(self, saga_id: str, entry: SagaEntry, *, wakes: bool) -> History | SagaHead:
        head = await self._log.head(saga_id)
        if head is None:
            raise JournalUnavailable(f"saga {saga_id} was purged just now")
        logged = await self._log.find(saga_id) if head.status.is_open else None
        if logged is None:
            entry.mailbox.close(f"the saga is over ({head.status})")
        elif missing := self._definitions.missing(logged.accepted):
            entry.mailbox.close(f"the saga waits for a deployment: {missing}")
        elif logged.is_elsewhere:
            entry.mailbox.close("another gateway drives the saga now: repeat it")
        elif wakes or not logged.is_parked:
            return await self._resume(logged, entry)
        entry.mailbox.answer(head.result)
        return head

    async def _resume(self, logged: LoggedSaga, entry: SagaEntry) -> History:
        """Go on with a saga from the log, whose definition this code has."""
        history = fold(logged.rows)
        saga = self._definitions.of(history.accepted)
        assert saga, "whoever resumes a saga has looked for its definition"
        entry.driver = SagaDriver(saga, logged.ref, history, self._context, entry.mailbox, logged.wake_ms)
        self._parked -= logged.is_parked
        if history.status.is_active:
            entry.counts_for = history.accepted.caller
        # A saga that waits has no call under way, so nothing of it is in doubt.
        goes_on = not logged.is_parked and (history.status.is_active or logged.wake_ms == 0)
        if goes_on or self._has_overslept(logged, saga, history):
            entry.driver.append(self._resumed(logged))
        if history.result:
            entry.mailbox.answer(history.result)
        return entry.driver.durable

    def _has_overslept(self, logged: LoggedSaga, saga: Saga, history: History) -> bool:
        """The time of its next attempt has passed while no process ran: so may its budget have."""
        is_late = logged.wake_ms and logged.wake_ms + LATE_S * 1000 < self._context.time.now_ms()
        return bool(is_late and current_calls(saga, history))

    def _resumed(self, logged: LoggedSaga) -> Resumed:
        accepted = logged.accepted
        span = accepted.trace.child(self._random)
        row = Resumed(at_ms=self._context.time.now_ms(), span_id=span.span_id)
        if (spans := tracing.active()) and span.is_sampled:
            spans.record(resumed_span(accepted, row, logged.rows[-1].span_id, time.time_ns()))
        return row

    def _forget(self, saga_id: str, entry: SagaEntry) -> None:
        del self._entries[saga_id]
        if entry.driver is None or entry.driver.is_in_line:
            self._admission.leave(saga_id, self._clock.monotonic_s())
        if entry.driver:
            left = entry.driver.durable
            self._count(entry, left.accepted.caller, is_active=left.status.is_active)
        elif entry.counts_for is not None:
            self._count(entry, entry.counts_for, is_active=False)
        entry.mailbox.answer(None)
        entry.mailbox.close("the saga stopped before it got to the command: look, and repeat it")
        if not entry.accepted.done():
            entry.accepted.set_result(JournalUnavailable("the engine stopped before the saga was accepted"))

    async def _resume_all(self) -> None:
        left = self._deaths.left_behind()
        if left is None:
            self._deaths.begin(Record())
            async for logged in self._resumable(self._log.active_sagas()):
                self._enter(logged.accepted.saga_id, partial(self._resume, logged))
        else:
            found = {
                logged.accepted.saga_id: logged async for logged in self._resumable(self._log.active_sagas())
            }
            await self._resume_after_death(left, found)
        if self._entries:
            _logger.info("sagas are resumed", count=len(self._entries))

    async def _resumable(self, active: AsyncIterator[Sequence[Found]]) -> AsyncIterator[LoggedSaga]:
        """Of active sagas those whose definition this code has."""
        waiting: dict[str, int] = {}
        async for page in active:
            for logged in page:
                if isinstance(logged, UnreadableSaga):
                    _logger.error("a saga is left as it is", saga_id=logged.saga_id, why=logged.why)
                elif missing := self._definitions.missing(logged.accepted):
                    waiting[missing] = waiting.get(missing, 0) + 1
                else:
                    yield logged
        for missing, count in waiting.items():
            _logger.warning("sagas wait for a deployment", count=count, waiting_for=missing)

    async def _resume_after_death(self, left: Record, found: dict[str, LoggedSaga]) -> None:
        """First the saga that is to blame, then those that may be, one by one, then all others: see `deaths`."""
        record = left.after_death({saga_id: answered(logged.rows) for saga_id, logged in found.items()})
        self._deaths.begin(record)
        if culprit := record.to_set_aside(left.on_trial):
            self._enter(culprit, partial(self._set_aside, found.pop(culprit)))
        ends_s = self._clock.monotonic_s() + TRIALS_S
        for saga_id in record.to_try():
            if saga_id in found and self._clock.monotonic_s() < ends_s:
                await self._try_alone(saga_id, found.pop(saga_id))
        for saga_id, logged in found.items():
            self._enter(saga_id, partial(self._resume, logged))

    async def _try_alone(self, saga_id: str, logged: LoggedSaga) -> None:
        """Resume a saga, and wait until its call has an answer: this process lives on, or it died of that saga."""
        _logger.warning(
            "this process died twice in a row with a saga under way: it goes on alone", saga_id=saga_id
        )
        self._deaths.try_alone(saga_id)
        await self._until_tried(saga_id, logged)
        self._deaths.try_no_more()

    async def _until_tried(self, saga_id: str, logged: LoggedSaga) -> None:
        """Resume a saga, and return when its call has an answer, or has had the time for one."""
        entry = self._enter(saga_id, partial(self._resume, logged))
        tried = entry.mailbox.tried = asyncio.get_running_loop().create_future()
        saga = self._definitions.of(logged.accepted)
        if saga and entry.task:
            limit_s = longest_timeout_s(saga) + ANSWERED_S
            await asyncio.wait({entry.task, tried}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)

    async def _set_aside(self, logged: LoggedSaga, entry: SagaEntry) -> History:
        history = await self._resume(logged, entry)
        if entry.driver:
            entry.driver.set_aside()
        return history

    def _drain_s(self) -> float:
        """How many seconds calls under way are waited for."""
        return self._grace.left_s(CANCEL_BEFORE_END_S)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._drain_s()):
                await self.wait_until_idle()
        except TimeoutError:
            _logger.warning("calls under way are given up; their sagas resume", count=len(self._entries))


def _unknown(delivery: Delivery) -> NotDelivered:
    return NotDelivered(Refusal.UNKNOWN_SAGA, f"there is no saga {delivery.saga_id}", RETRY_AFTER_S)


async def _begun(entry: SagaEntry, begin: Begin) -> "History | SagaHead | Exception":
    try:
        return await begin(entry)
    except Exception as error:  # noqa: BLE001 - raised to whoever asked for the saga; other sagas go on
        entry.mailbox.close(str(error))
        return error


def _delivered(accepted: Accepted, *, is_new: bool) -> Delivered:
    return Delivered(is_new, accepted.trace.trace_id, accepted.started_ms, accepted.version, accepted.input)


def _check_services(sagas: Sequence[Saga], transports: Mapping[str, Transport]) -> None:
    actions = [
        action
        for saga in sagas
        for step in saga.calls
        for action in (step.action, step.compensation)
        if action
    ]
    missing = {action.service for action in actions} - set(transports)
    if missing:
        raise ValueError(f"no transport for the services {', '.join(sorted(missing))}")
