"""Drives one saga: decide, act, log, and again.

Theory of operation: two histories. `durable` is what may be shown: each of its rows that must be on disk is there.
`_ahead` is what is decided from; it has the rows in `_pending` as well. Rows are collected until the saga has to act on
them (send a call, or stop), then written in one commit: the last step's Done and Ended, or a failed attempt and
TurnedBack, share one fsync.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.engine.admission import Admission
from sagagen.runtime.engine.calls import Calls, failed_row
from sagagen.runtime.engine.deaths import SET_ASIDE_AT
from sagagen.runtime.engine.requests import Requests
from sagagen.runtime.engine.row_metrics import count_rows, observe_attempt
from sagagen.runtime.engine.spans import attempt_span
from sagagen.runtime.engine.time import SagaTime
from sagagen.runtime.model.definition import Direction, Saga
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.refusals import BarrierRefusal
from sagagen.runtime.saga.commands import CommandRejected, OperatorCommand, current_call, row_for
from sagagen.runtime.saga.decision import (
    ENGINE_ERROR,
    CallNow,
    End,
    GetStuck,
    PassOver,
    StepCall,
    TurnBack,
    decide,
)
from sagagen.runtime.saga.events import (
    Accepted,
    Compensated,
    Done,
    Ended,
    Failed,
    LogEvent,
    Outcome,
    PassedOver,
    SagaStatus,
    Stuck,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.journal import Journal, JournalUnavailable
from sagagen.runtime.saga.result import SagaResult, Superseded, Unsuccessful
from sagagen.runtime.saga.retry import backoff_s
from sagagen.runtime.scope import Failure
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.logs import log_within

PROCESS_DIED = "PROCESS_DIED"
COMPLETION = "completion"

Ref = TypeVar("Ref")
"""What the journal knows a saga by."""

OnResult = Callable[[Saga, Accepted, SagaResult], None]

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EngineContext(Generic[Ref]):
    """What all sagas of an engine share."""

    journal: Journal[Ref]
    calls: Calls
    time: SagaTime
    random: Random
    on_result: OnResult | None
    """Called with each result, once that is durable."""
    admission: Admission = field(default_factory=Admission)
    """The line that a saga leaves with its first call."""


@dataclass(slots=True, eq=False)
class SagaMailbox:
    """How others reach a saga that runs, and learn of its result."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends a wait: something has changed outside."""
    answered: asyncio.Future[SagaResult | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """The result, once it is durable; None if the saga stopped without one."""
    commands: "deque[tuple[OperatorCommand, asyncio.Future[None]]]" = field(default_factory=deque)
    """What operators want, each with the future that is done once it is durable."""
    tried: "asyncio.Future[None] | None" = None
    """Done once its next call has an answer; None where nobody waits for that."""
    is_stopping: bool = False
    """No new call begins; the saga stays as it is, and can be resumed."""

    def stop(self) -> None:
        self.is_stopping = True
        self.wake.set()

    def was_tried(self) -> None:
        if self.tried and not self.tried.done():
            self.tried.set_result(None)

    def answer(self, result: SagaResult | None) -> None:
        if not self.answered.done():
            self.answered.set_result(result)

    async def submit(self, command: OperatorCommand) -> None:
        """Have the saga carry out a command; it is durable when this returns. Raises CommandRejected."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.commands.append((command, done))
        self.wake.set()
        await done

    def reject_commands(self, why: str) -> None:
        while self.commands:
            _reject(self.commands.popleft()[1], CommandRejected(why))


class SagaDriver(Generic[Ref]):
    """One saga, from where its history stands to its end, or until it is stopped."""

    def __init__(
        self, saga: Saga, ref: Ref, history: History, context: EngineContext[Ref], mailbox: SagaMailbox
    ) -> None:
        self.saga = saga
        self.durable = history
        self._ref = ref
        self._ahead = history
        self._pending: list[LogEvent] = []
        self._applied: list[asyncio.Future[None]] = []
        """Of commands whose rows are in `_pending`."""
        self._requests = Requests(saga, history)
        self._context = context
        self._now = context.time.now_ms
        self._mailbox = mailbox
        self.is_in_line = False
        """It was accepted just now, and has made no call yet: others go before it."""

    async def drive(self) -> None:
        """Run until the saga is over, stuck or stopped. Raises nothing but CancelledError."""
        log_within(self._log_scope)
        try:
            await self._run()
        except Exception as error:
            _logger.exception("the engine failed with a saga", saga_id=self.durable.accepted.saga_id)
            await self._get_stuck(error)
        finally:
            # However it ends, nobody is left waiting: neither for a result, nor for a command that got no row.
            self._mailbox.answer(self.durable.result)
            lost = CommandRejected(
                "the engine stopped before the command was in its log: look, and repeat it"
            )
            for done in self._applied:
                _reject(done, lost)

    def _log_scope(self) -> dict[str, str]:
        accepted = self._ahead.accepted
        return {
            "service": tracing.GATEWAY,
            "saga_id": accepted.saga_id,
            "trace_id": accepted.trace.trace_id,
            "span_id": accepted.trace.span_id,
        }

    def append(self, *rows: LogEvent) -> None:
        """Add rows. They are decided from at once, and written before the next call, or at the end."""
        self._ahead = self._ahead.with_rows(rows)
        self._pending.extend(rows)

    def set_aside(self) -> None:
        """Its call ended the process each time that it was made: an operator has to look before it is made again."""
        if call := current_call(self.saga, self._ahead):
            message = f"the process died {SET_ASIDE_AT} times in a row while this call was under way"
            failure = Failure(Code.INTERNAL.name, PROCESS_DIED, message, call.step.name)
            self.append(self._row(GetStuck(call.direction, failure)))

    async def _run(self) -> None:
        await self._advance()
        await self._write()
        # A command may have come during the last write: it is carried out, or refused, as any other.
        while self._mailbox.commands and not self._mailbox.is_stopping:
            await self._advance()
            await self._write()

    async def _advance(self) -> None:
        """Go on until there is nothing to do, or the saga is stopped."""
        while not self._mailbox.is_stopping:
            # Before the decision, which must see them: a cancelled saga makes no further call forward.
            self._apply_commands()
            decision = decide(self.saga, self._ahead)
            if decision is None:
                break
            if isinstance(decision, CallNow):
                # Before the call: what it follows from must survive a crash that the call survives.
                await self._write()
                for call in decision.calls:
                    self.append(*await self._attempt(call))
                    self._mailbox.was_tried()
            else:
                self.append(self._row(decision))

    def _apply_commands(self) -> None:
        while self._mailbox.commands:
            command, done = self._mailbox.commands.popleft()
            try:
                row = row_for(command, self.saga, self._ahead, self._now())
            except CommandRejected as refusal:
                _reject(done, refusal)
                continue
            if row is not None:
                _logger.warning("an operator's command", act=command.act, by=command.by, step=command.step)
                self.append(self._requests.complete(row))
            if self._pending:
                self._applied.append(done)
            else:  # it was done before, and is in the log
                _accept(done)

    async def _write(self) -> None:
        """Bring the log up to `_ahead`, waiting for the disk if one of the rows must be durable."""
        while self._pending:
            try:
                # All at once: a row that need not be durable may precede one that must be, and never follows it.
                if any(row.is_durable for row in self._pending):
                    status = self._ahead.status
                    has_changed = status is not self.durable.status
                    await self._context.journal.append(
                        self._ref, self._pending, status if has_changed else None
                    )
                else:
                    await self._context.journal.append_later(self._ref, self._pending)
            except JournalUnavailable as error:
                if self._mailbox.is_stopping:
                    return  # the next process finds the saga as it is in the log, and decides the same again
                await self._pause(error.retry_after_s)
            else:
                # Counted once written, and shown last: what is shown, answered or measured is in the log.
                count_rows(self._ahead.accepted, self._pending)
                self._pending = []
                self._show()

    def _show(self) -> None:
        """Let others see what has just been written: the history, the result, and that commands are carried out."""
        if self._ahead.stuck and not self.durable.stuck:
            stuck, accepted = self._ahead.stuck, self._ahead.accepted
            _logger.error(
                "a saga is stuck",
                saga_id=accepted.saga_id,
                saga=accepted.saga,
                step=stuck.failure.step,
                direction=str(stuck.direction),
                code=stuck.failure.code,
                reason=stuck.failure.reason,
                error=stuck.failure.message,
            )
        was_answered = self.durable.result is not None
        self.durable = self._ahead
        if self.durable.result:
            self._mailbox.answer(self.durable.result)
            if self._context.on_result and not was_answered:
                self._context.on_result(self.saga, self.durable.accepted, self.durable.result)
        applied, self._applied = self._applied, []
        for done in applied:
            _accept(done)

    async def _attempt(self, call: StepCall) -> tuple[LogEvent, ...]:
        """Wait until it is time, and make the call. No row if something else has happened meanwhile: decide again."""
        # Without the service's slot: a saga that waits to repeat a call keeps no other from its first one.
        if await self._pause(self._delay_s(call)):
            return ()
        slots = self._context.calls.slots(call.action.service)
        await slots.take(is_first=self.is_in_line)
        try:
            # Looked at again, and the clock too: it may have taken long to get the slot.
            if self._mailbox.is_stopping or self._mailbox.commands:
                return ()
            left_s = self._left_s(call)
            if left_s is not None and left_s <= 0:
                return (TimeUp(at_ms=self._now(), step=call.step.name, direction=call.direction),)
            if self.is_in_line:
                self._leave_line()
            return (await self._send(call, left_s if call.is_cut_short else None),)
        finally:
            slots.give_back()

    def _leave_line(self) -> None:
        self.is_in_line = False
        self._context.admission.leave(self.durable.accepted.saga_id, self._context.time.monotonic_s())

    async def _pause(self, seconds: float) -> bool:
        """Wait; true if woken, which says that something outside has changed."""
        if seconds <= 0:
            return False
        await self._context.journal.rest(seconds, self._mailbox.wake)
        # Cleared only now: what sets it before `rest` begins, or after it has timed out, is not lost.
        is_woken = self._mailbox.wake.is_set()
        self._mailbox.wake.clear()
        return is_woken

    def _delay_s(self, call: StepCall) -> float:
        delay_s = backoff_s(call.action.retry, call.failures, call.retry_after_s, self._context.random)
        left_s = self._left_s(call)
        return delay_s if left_s is None else min(delay_s, left_s)

    def _left_s(self, call: StepCall) -> float | None:
        return None if call.give_up_at_ms is None else (call.give_up_at_ms - self._now()) / 1000

    async def _send(self, call: StepCall, at_most_s: float | None) -> Done | Failed | Compensated:
        request = self._requests.request(call, self._ahead)
        begun_ns, begun_s = time.time_ns(), time.perf_counter()
        timeout_s = min(call.action.timeout_s, at_most_s if at_most_s is not None else call.action.timeout_s)
        span = self._ahead.accepted.trace.child(self._context.random)
        metadata = self._saga_call(call, timeout_s).to_metadata() | span.to_metadata()
        try:
            response = await self._context.calls.send(
                call.action.service, call.action.method.path, request, metadata, timeout_s
            )
        except RpcError as error:
            row = failed_row(call, error, self._now(), span.span_id)
        else:
            row = self._done(call, response, span.span_id)
        took_s = time.perf_counter() - begun_s
        observe_attempt(self._ahead.accepted, row, took_s)
        if (spans := tracing.active()) and span.is_sampled:
            spans.record(attempt_span(self._ahead.accepted, call, row, begun_ns, took_s))
        return row

    def _saga_call(self, call: StepCall, timeout_s: float) -> SagaCall:
        accepted = self._ahead.accepted
        return SagaCall(
            saga_id=accepted.saga_id,
            run=accepted.run,
            started_ms=accepted.at_ms,
            step=call.step.name,
            kind=call.step.kind,
            direction=call.direction,
            attempt=call.attempt,
            not_after_ms=self._context.time.wall_ms() + max(1, round(timeout_s * 1000)),
            caller=accepted.caller,
        )

    def _done(self, call: StepCall, response: bytes, span_id: str) -> Done | Compensated:
        step, now = call.step.name, self._now()
        if call.direction is Direction.COMPENSATION:
            return Compensated(at_ms=now, span_id=span_id, step=step, attempt=call.attempt)
        following = self._requests.after(step, response)
        result = self._success() if self.saga.respond.after == step else None
        return Done(
            at_ms=now,
            span_id=span_id,
            step=step,
            attempt=call.attempt,
            response=response,
            next=following,
            result=result,
        )

    def _row(self, decision: TurnBack | End | GetStuck | PassOver) -> LogEvent:
        now, span_id = self._now(), self._ahead.accepted.trace.span_id
        match decision:
            case PassOver(step, reason, message):
                return PassedOver(at_ms=now, span_id=span_id, step=step, reason=reason, message=message)
            case TurnBack(failure, outcome):
                result = None if self.saga.respond.after == COMPLETION else self._failure(failure, outcome)
                return TurnedBack(at_ms=now, span_id=span_id, failure=failure, outcome=outcome, result=result)
            case End(status):
                return Ended(at_ms=now, span_id=span_id, status=status, result=self._final(status))
            case GetStuck(direction, failure):
                return Stuck(at_ms=now, span_id=span_id, direction=direction, failure=failure)

    def _final(self, status: SagaStatus) -> SagaResult | None:
        """The result of a saga that has had none before its end."""
        if self._ahead.result:
            return None
        if self._ahead.turned_back:
            return self._failure(self._ahead.turned_back.failure, self._ahead.turned_back.outcome)
        return self._superseded() if status is SagaStatus.SUPERSEDED else self._success()

    def _superseded(self) -> SagaResult:
        lasts = [progress.last for progress in self._ahead.progress.values()]
        met = [last for last in lasts if last and last.barrier_refusal is BarrierRefusal.OTHER_RUN]
        owner_run = next((each.owner_run for each in met if each.owner_run), "")
        return Superseded(owner_run, is_other_payload=any(each.is_other_payload for each in met))

    def _success(self) -> SagaResult | None:
        return None if self._ahead.result else self._requests.success()

    def _failure(self, failure: Failure, outcome: Outcome) -> SagaResult | None:
        if self._ahead.result:
            return None
        return Unsuccessful(failure, is_refused=outcome is Outcome.REFUSED)

    async def _get_stuck(self, error: Exception) -> None:
        """A mistake of ours is shown as what it is, and stops this saga alone."""
        try:
            # From what is in the log: the rows that were pending may be what went wrong.
            self._ahead, self._pending = self.durable, []
            direction = Direction.COMPENSATION if self.durable.turned_back else Direction.ACTION
            message = f"{type(error).__name__}: {error}"
            failure = Failure(Code.INTERNAL.name, ENGINE_ERROR, message, self._step_under_way())
            self.append(self._row(GetStuck(direction, failure)))
            await self._write()
        except Exception:
            _logger.exception("a saga could not be marked as stuck", saga_id=self.durable.accepted.saga_id)

    def _step_under_way(self) -> str:
        """Empty if that can't be told: the mistake may be in telling it."""
        with suppress(Exception):
            if call := current_call(self.saga, self.durable):
                return call.step.name
        return ""


def _accept(done: "asyncio.Future[None]") -> None:
    if not done.done():  # whoever sent it may have left
        done.set_result(None)


def _reject(done: "asyncio.Future[None]", refusal: CommandRejected) -> None:
    if not done.done():  # whoever sent it may have left
        done.set_exception(refusal)
