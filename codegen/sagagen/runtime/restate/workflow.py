"""A saga as a workflow on Restate: which commands follow which batch of rows, and how a saga is taken up again.

Theory of operation. The journal of the workflow holds batches of rows; a batch is recorded before the driver goes on.
Two rules keep a replay true to what was recorded:

1. What follows a batch is read from the batch alone (`_follow`), whoever made it, and before anything else is done.
2. No command is issued but those, and the next batch.

An attempt first reads the batches that were recorded. A batch whose command was recorded and whose rows were not is
made anew: of it nobody knows what had happened, so it says `Resumed`, and so does the first batch after all others.
Then the engine's own driver goes on from the rows. Calls to services are its own, between two batches.

What comes from outside comes by promises: `order-n` is waited for from the moment that `order-(n-1)` is settled, and
is settled by the batch that has its row, or by one that says why it has none.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.engine.context import EngineContext
from sagagen.runtime.engine.driver import SagaDriver
from sagagen.runtime.engine.mailbox import MailboxClosed, SagaMailbox
from sagagen.runtime.engine.parking import FOR_EVER_MS
from sagagen.runtime.engine.port import CommandRejected, NotDelivered, OperatorCommand
from sagagen.runtime.engine.row_metrics import count_rows
from sagagen.runtime.engine.spans import resumed_span
from sagagen.runtime.engine.time import SagaTime
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.restate.batch import RowBatch, encoded_rows_in, from_bytes, to_bytes
from sagagen.runtime.restate.entries import entries_from_bytes, entries_to_bytes
from sagagen.runtime.restate.failing import WaitsForDeployment
from sagagen.runtime.restate.invocation import Gone, Invocation
from sagagen.runtime.restate.operators import send_of_row
from sagagen.runtime.restate.orders import (
    DONE,
    REPEATED,
    Order,
    order_from_bytes,
    refusal_to_bytes,
)
from sagagen.runtime.restate.state import STATE, to_state
from sagagen.runtime.saga.commands import Act
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import (
    Accepted,
    Cancelled,
    DoneByHand,
    EventTaken,
    GaveUp,
    Held,
    LogEvent,
    OperatorRow,
    RefusedByHand,
    Resolved,
    Resumed,
    Retried,
)
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.journal import UNCHANGED, JournalUnavailable
from sagagen.runtime.telemetry import spans as tracing

FRESH_MS = 1000
"""Milliseconds since its acceptance within which a saga of which nothing is recorded can have met no deadline."""
LATE_MS = 60_000
"""A saga that wakes so many ms after its time has missed it."""
LET_GO_MS = 5_000
"""Waits from here on, in ms, keep no stream and no memory: Restate calls again when they are over."""
_OF_ORDERS = (EventTaken, Cancelled, DoneByHand, GaveUp, Held, RefusedByHand, Resolved, Retried)
"""Rows that are made of an order; GaveUp also without."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class SagaWorkflow:
    """One attempt to drive a saga. It tells `on_news` what it has recorded and others may want to know."""

    def __init__(
        self,
        invocation: Invocation,
        definitions: Definitions,
        context: "EngineContext[SagaWorkflow]",
        on_news: "Callable[[SagaWorkflow], None]" = lambda _: None,
        project: str = "",
    ) -> None:
        started = from_bytes(invocation.input)
        accepted = started.rows[0]
        assert isinstance(accepted, Accepted), "a gateway sends nothing else"
        self.reply_to = started.reply
        self._invocation = invocation
        invocation.on_cancel = self.cancel
        self._context = context
        self._on_news = on_news
        self._project = project
        self._history = History.begin(accepted)
        self._rows: list[LogEvent] = [accepted]
        self._encoded_rows = encoded_rows_in(invocation.input)
        self._folded: tuple[Sequence[LogEvent], History] | None = None
        """Rows that were looked at last, and the history with them."""
        self._riding: list[LogEvent] = []
        """Rows that need not be durable yet."""
        self._orders = 0
        self._order = -1
        """What `order-n` brings, once it has come."""
        self._nap: int | None = None
        self._wake_ms: int | None = None
        self._under_way: Order | None = None
        self._has_settled = False
        """The order under way was settled by the last batch."""
        self._recording = asyncio.Lock()
        self._is_cancelled = False
        self._mailbox: SagaMailbox | None = None
        self._is_draining = False
        self._failure: Exception | None = None
        self._definitions = definitions

    # What the engine's driver sees: a Journal, by `journal.py`

    async def append(
        self, rows: Sequence[LogEvent], wake_ms: int | None = UNCHANGED, at_steps: str = ""
    ) -> None:
        """Record rows, with all that ride along. Returns once they are durable."""
        try:
            async with self._recording:
                waits = self._wake_ms if wake_ms == UNCHANGED else wake_ms
                batch = self._batch([*self._riding, *rows], waits, at_steps)
                await self._record(lambda: batch)
                self._riding = []
            if batch.is_shown:
                await self._invocation.flush()
                self._on_news(self)
        except Exception as error:
            # Whatever it is, it is no mistake in this saga, which would be stuck: the attempt ends, and is repeated.
            self._failure = error
            raise Gone from error

    def append_later(self, rows: Sequence[LogEvent]) -> None:
        self._riding += rows

    # From the beginning to where it rests

    async def run(self) -> None:
        """Drive the saga to its end. Raises Gone where it does not get there; Restate calls again."""
        try:
            await self._run()
        except Gone:
            if self._failure:
                raise self._failure from None
            raise

    async def _run(self) -> None:
        invocation = self._invocation
        is_replayed = invocation.is_replaying
        invocation.set_state(STATE, to_state(RowBatch(self._rows), self._history))
        self._saga = self._definition()  # after the state: also a saga that can't begin is found
        self._order = invocation.promise("order-0")
        has_resumed, is_awake = await self._replay()
        if is_replayed or self._may_have_begun():
            is_in_doubt = not has_resumed and not is_awake
        else:
            is_in_doubt = False
            count_rows(self._history.accepted, self._rows)
        while not self._history.ended:
            await self._drive(is_in_doubt=is_in_doubt)
            is_in_doubt = False
            if not self._history.ended:
                await self._rest()

    def _definition(self) -> Saga:
        found = self._definitions.of(self._history.accepted)
        if found is None:
            raise WaitsForDeployment(self._definitions.missing(self._history.accepted))
        return found

    async def _replay(self) -> tuple[bool, bool]:
        """Read what was recorded. Says whether `Resumed` was recorded for this attempt, and whether it begins awake."""
        has_resumed = is_awake = False
        while self._invocation.is_replaying and not self._history.ended:
            made: list[RowBatch] = []

            def anew(made: list[RowBatch] = made) -> RowBatch:
                made.append(self._batch(self._resumed_rows(), self._wake_ms))
                return made[0]

            await self._record(anew)
            has_resumed = bool(made)
            is_awake = False
            if not self._invocation.is_replaying and self._rests():
                await self._rest()
                is_awake = True
        return has_resumed, is_awake

    def _rests(self) -> bool:
        """By its last batch it only waits, for its time or for an order."""
        return bool(self._wake_ms) or (bool(self._history.stuck) and self._wake_ms is None)

    def _resumed_rows(self) -> Sequence[LogEvent]:
        return [] if self._rests() else [self._resumed()]

    def _may_have_begun(self) -> bool:
        """Nothing is recorded, and an attempt may have been here before: its first call may have left."""
        return self._context.time.now_ms() - self._history.accepted.at_ms >= FRESH_MS

    def _resumed(self) -> Resumed:
        accepted = self._history.accepted
        span = accepted.trace.child(self._context.random)
        row = Resumed(at_ms=max(self._context.time.now_ms(), self._history.updated_ms), span_id=span.span_id)
        if (spans := tracing.active()) and span.is_sampled:
            spans.record(resumed_span(accepted, row, self._rows[-1].span_id, time.time_ns()))
        return row

    async def _drive(self, *, is_in_doubt: bool) -> None:
        mailbox = self._mailbox = SagaMailbox()
        driver = SagaDriver(self._saga, self, self._history, self._timed(), mailbox, self._wake_ms)
        if is_in_doubt or self._has_overslept():
            driver.append(self._resumed())
        if self._is_cancelled:
            self._take_cancel()
        if self._is_draining:
            mailbox.stop()
        listening = asyncio.create_task(self._listen(mailbox), name="orders")
        try:
            if self._invocation.has_come(self._order):
                await asyncio.sleep(0)  # the driver would see no mail, and leave at once
            await driver.drive()
            mailbox.close("the saga stopped before it got to the command: look, and repeat it")
            if self._under_way is not None and not self._history.ended:
                await asyncio.wait([listening])  # what was taken is settled before anything else is done
        finally:
            listening.cancel()
            await asyncio.wait([listening])
        if not listening.cancelled() and (error := listening.exception()):
            raise error
        if self._is_draining:
            raise Gone

    def _timed(self) -> "EngineContext[SagaWorkflow]":
        """A host whose clock is behind the saga's last row uses that row's time."""
        if self._history.updated_ms <= self._context.time.now_ms():
            return self._context
        return replace(self._context, time=SagaTime(SystemClock(), self._history.updated_ms))

    def _has_overslept(self) -> bool:
        return bool(self._wake_ms) and 0 < (self._wake_ms or 0) + LATE_MS < self._context.time.now_ms()

    async def _rest(self) -> None:
        """Wait for what may come next: its time, or an order."""
        self._riding = []
        left_ms = (self._wake_ms or FOR_EVER_MS) - self._context.time.now_ms()
        awaited = [self._order] if self._nap is None else [self._nap, self._order]
        if left_ms >= LET_GO_MS and not any(map(self._invocation.has_come, awaited)):
            self._invocation.let_go()
        await self._invocation.wait(*awaited)

    def stop(self) -> None:
        """No new call, and the end of this attempt once those under way have come back."""
        self._is_draining = True
        if self._mailbox:
            self._mailbox.stop()

    # Batches, and what follows from each

    def _batch(self, rows: Sequence[LogEvent], wake_ms: int | None, at_steps: str = "") -> RowBatch:
        after = self._history.with_rows(rows)
        self._folded = rows, after
        is_over = after.ended is not None
        settles = self._under_way is not None and any(
            isinstance(row, _OF_ORDERS) and not (isinstance(row, GaveUp) and not row.by) for row in rows
        )
        reply = DONE if settles else b""
        if is_over and self._under_way is not None and not settles:
            settles, reply = (
                True,
                refusal_to_bytes(JournalUnavailable("the saga has just ended: send the same again")),
            )
        is_shown = (
            is_over
            or settles
            or bool(wake_ms)
            or after.stuck is not self._history.stuck
            or (after.result is not None and self._history.result is None)
            or (after.turned_back is not None and self._history.turned_back is None)
        )
        return RowBatch(
            rows=rows,
            wake_ms=wake_ms,
            is_over=is_over,
            is_shown=is_shown,
            took_order=settles,
            reply=reply,
            audit=entries_to_bytes(_audited(rows)),
            at_steps=at_steps,
        )

    async def _record(self, make: Callable[[], RowBatch]) -> None:
        """Record the batch, or read the one that an earlier attempt recorded, and do what follows from it."""
        made: dict[bytes, RowBatch] = {}

        def to_record() -> bytes:
            batch = make()
            data = to_bytes(batch)
            made[data] = batch
            return data

        handle = self._invocation.run(to_record)
        while not self._invocation.has_come(handle):
            await self._invocation.wait(handle)
        data = self._invocation.take(handle) or b""
        self._follow(made.get(data) or from_bytes(data), encoded_rows_in(data))

    def _follow(self, batch: RowBatch, encoded_rows: bytes) -> None:
        invocation = self._invocation
        if self._folded and self._folded[0] is batch.rows:
            self._history = self._folded[1]
        else:
            self._history = self._history.with_rows(batch.rows)
        self._folded = None
        self._rows += batch.rows
        self._encoded_rows += encoded_rows
        self._wake_ms = batch.wake_ms
        self._nap = None
        if batch.took_order:
            self._has_settled = True
            invocation.resolve(f"ordered-{self._orders}", batch.reply)
            self._orders += 1
            if not batch.is_over:
                self._order = invocation.promise(f"order-{self._orders}")
        if batch.is_shown:
            shown = replace(batch, orders=self._orders, reply=b"", audit=b"")
            invocation.set_state(STATE, to_state(shown, self._history, self._encoded_rows))
        for entry in entries_from_bytes(batch.audit):
            send_of_row(invocation, self._project, entry)
        if batch.wake_ms and batch.wake_ms < FOR_EVER_MS:
            self._nap = invocation.sleep(max(0, batch.wake_ms - self._context.time.now_ms()))

    # Orders

    async def _listen(self, mailbox: SagaMailbox) -> None:
        """Bring orders to the driver, one after the other, and see to it that each is settled."""
        while True:
            await self._until_order()
            order = self._under_way = order_from_bytes(self._invocation.take(self._order) or b"")
            self._has_settled = False
            reply = await _said(mailbox, order)
            if not (self._has_settled or self._history.ended):
                async with self._recording:
                    await self._record(partial(self._settled_by, reply))
            self._under_way = None
            if mailbox.is_closed:
                return

    def _settled_by(self, reply: bytes) -> RowBatch:
        """Without a row: what was done without one had been done before."""
        said = REPEATED if reply == DONE else reply
        return replace(self._batch([], self._wake_ms), is_shown=True, took_order=True, reply=said)

    async def _until_order(self) -> None:
        while not self._invocation.has_come(self._order):
            await self._invocation.news()

    def cancel(self) -> None:
        """Somebody has cancelled the invocation by Restate's own means: it is turned back as by an operator."""
        self._is_cancelled = True
        if self._mailbox and not self._mailbox.is_closed:
            self._take_cancel()

    def _take_cancel(self) -> None:
        self._is_cancelled = False
        if self._mailbox:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.add_done_callback(_look_at)
            self._mailbox.commands.append((OperatorCommand(Act.CANCEL, "restate"), done))
            self._mailbox.wake.set()

    @property
    def history(self) -> History:
        return self._history

    @property
    def is_resting(self) -> bool:
        """Nothing is left to do for now: it is over, stuck, or waits."""
        return self._history.ended is not None or self._rests()


def _audited(rows: Sequence[LogEvent]) -> list[AuditEntry]:
    found = [row.audit for row in rows if isinstance(row, OperatorRow | EventTaken)]
    return [entry for entry in found if entry]


def _look_at(done: "asyncio.Future[None]") -> None:
    if not done.cancelled() and (error := done.exception()):
        _logger.warning("a cancellation by Restate changes nothing", problem=str(error))


async def _said(mailbox: SagaMailbox, order: Order) -> bytes:
    try:
        if isinstance(order, OperatorCommand):
            await mailbox.submit(order)
            return DONE
        return DONE if await mailbox.deliver(order) else REPEATED
    except (NotDelivered, CommandRejected, MailboxClosed, JournalUnavailable) as error:
        return refusal_to_bytes(error)
