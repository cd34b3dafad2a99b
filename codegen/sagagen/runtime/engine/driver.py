"""Drives one saga: decide, act, log, and again.

Theory of operation: two histories. `durable` is what may be shown: each of its rows that must be on disk is there.
`_ahead` is what is decided from; it has the rows in `_pending` as well. Rows are collected until the saga has to act on
them (send a call, or stop), then written in one commit: the last step's Done and Ended, or a failed attempt and
TurnedBack, share one fsync.

Whatever comes from outside (an outcome, time, an event, a command) is taken one thing at a time, between two decisions.
Calls run side by side as `flights`, tasks of their own; a call that is alone, of a saga that waits for nothing else, is
made by the saga's own task.
"""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Generic, NamedTuple

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.engine.attempts import AttemptRow, Attempts, nothing_follows
from sagagen.runtime.engine.context import EngineContext, Ref
from sagagen.runtime.engine.deaths import SET_ASIDE_AT
from sagagen.runtime.engine.deliveries import RETRY_AFTER_S, row_of
from sagagen.runtime.engine.flights import Flights
from sagagen.runtime.engine.mailbox import SagaMailbox, accept, reject
from sagagen.runtime.engine.parking import FOR_EVER_MS, PARK_BACK_OFF_FROM_S, PARK_FROM_S
from sagagen.runtime.engine.port import Delivery, NotDelivered, Refusal
from sagagen.runtime.engine.requests import CannotBuild, Requests
from sagagen.runtime.engine.results import COMPLETION, result_at_end, result_of_failure
from sagagen.runtime.engine.row_metrics import count_delivery, count_rows
from sagagen.runtime.engine.wait_metrics import observe_waits
from sagagen.runtime.model.definition import AT_ACCEPTANCE, Delay, Direction, Saga, Step, StepKind
from sagagen.runtime.rpc.errors import DOMAIN
from sagagen.runtime.saga.commands import CommandRejected, OperatorCommand, current_calls, row_for
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import (
    ENGINE_ERROR,
    NOT_BUILT,
    CallNow,
    End,
    GetStuck,
    GiveUp,
    PassOver,
    Pause,
    Plan,
    Receive,
    StepCall,
    TurnBack,
)
from sagagen.runtime.saga.events import (
    Cancelled,
    Done,
    Ended,
    Failed,
    GaveUp,
    Held,
    LogEvent,
    LoopPlanned,
    NextRequest,
    Outcome,
    PassedOver,
    SagaStatus,
    Skipped,
    Stuck,
    TimedOut,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.saga.forward import is_settled
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.journal import JournalUnavailable
from sagagen.runtime.scope import Failure, step_name
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.logs import log_within

PROCESS_DIED = "PROCESS_DIED"
CALLED_OFF = "CALLED_OFF"

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_AT_NO_STEP = frozenset({COMPLETION, AT_ACCEPTANCE})
_Answering = Done | Skipped | TimedOut | LoopPlanned | GaveUp


class _Applied(NamedTuple):
    """Somebody who waits until what they brought is in the log."""

    done: "asyncio.Future[Any]"
    result: object
    """What they are told then; an exception is raised to them."""
    lost: Callable[[], Exception]
    """What is raised to them if it never is."""


def _command_lost() -> Exception:
    return CommandRejected("the engine stopped before the command was in its log: look, and repeat it")


def _delivery_lost() -> Exception:
    said = "the saga stopped before this was in its log: send the same again"
    return NotDelivered(Refusal.NOT_READY, said, RETRY_AFTER_S)


class SagaDriver(Generic[Ref]):
    """One saga, from where its history stands to its end, or until it is stopped."""

    def __init__(
        self,
        saga: Saga,
        ref: Ref,
        history: History,
        context: EngineContext[Ref],
        mailbox: SagaMailbox,
        wake_ms: int | None = None,
    ) -> None:
        """`wake_ms` is what the journal says of the saga's waiting."""
        self.saga = saga
        self.durable = history
        self._ref = ref
        self._ahead = history
        self._pending: list[LogEvent] = []
        self._applied: list[_Applied] = []
        """Whom to tell what, once what is in `_pending` is written."""
        self._requests = Requests(saga, history)
        self._is_alone = saga.is_line and not saga.events and saga.cancel is None
        """It makes one call at a time, and takes nothing meanwhile but an operator's command."""
        mailbox.may_park = not self._is_alone
        follow = self._requests.follow if self._is_alone else nothing_follows
        self._attempts = Attempts(context, self._requests, mailbox.has_mail, follow)
        self._flights = Flights(self._attempts, mailbox)
        self._context = context
        self._now = context.time.now_ms
        self._mailbox = mailbox
        self.is_in_line = False
        """It was accepted just now, and has made no call yet: others go before it."""
        self.parked_until_ms: int | None = None
        """It only waits, and has left off until then; the journal knows it."""
        self._wake_ms = wake_ms

    async def drive(self) -> None:
        """Run until the saga is over, stuck or stopped. Raises nothing but CancelledError."""
        log_within(self._log_scope)
        try:
            await self._run()
        except Exception as error:
            _logger.exception("the engine failed with a saga", saga_id=self.durable.accepted.saga_id)
            await self._get_stuck(error)
        finally:
            self._flights.call_off_all()
            # However it ends, nobody is left waiting: neither for a result, nor for a command that got no row.
            self._mailbox.answer(self.durable.result)
            self._tell_lost()

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
        for call in current_calls(self.saga, self._ahead):
            message = f"the process died {SET_ASIDE_AT} times in a row while this call was under way"
            failure = Failure(Code.INTERNAL.name, PROCESS_DIED, message, call.key)
            self.append(self._row(GetStuck(call.direction, failure)))

    async def _run(self) -> None:
        await self._advance()
        await self._write(self.parked_until_ms)
        # A command may have come during the last write: it is carried out, or refused, as any other.
        while self._mailbox.has_mail() and not self._mailbox.is_stopping:
            await self._advance()
            await self._write(self.parked_until_ms)

    async def _advance(self) -> None:
        """Go on until there is nothing to do, or the saga is stopped."""
        self.parked_until_ms = None
        while not self._mailbox.is_stopping:
            # Before the decision, which must see them: a cancelled saga makes no further call forward.
            if not self._is_alone or self._mailbox.has_mail():
                self._take_in()
            decision = decide(self.saga, self._ahead)
            if decision is None:
                self._flights.call_off_all()
                return
            if not isinstance(decision, CallNow):
                self._carry_out(decision)
            elif until_ms := self._parks_until(decision):
                self._flights.call_off_all()  # none has left; nor will one while the rows are written
                await self._write(until_ms)
                # Somebody may have come while that was written.
                if not self._mailbox.has_mail() and not self._mailbox.waiters:
                    self.parked_until_ms = until_ms
                    return
                if not decision.calls:
                    await self._go_on(decision)  # what the log says of it stays true: it only waits
            elif self._is_alone:
                # Before the call: what it follows from must survive a crash that the call survives.
                await self._write()
                await self._call_alone(decision.calls[0])
            else:
                await self._write(0 if self._ahead.stuck else None)
                await self._go_on(decision)
        # Calls that have left come back; what they bring is decided from by the next process.
        await self._flights.land()
        self._take_in_outcomes()

    def _parks_until(self, decision: CallNow) -> int | None:
        """When the saga has something to do again, if it only waits until then, and is worth being left; ms."""
        calls = decision.calls
        if calls and not (calls[0].failures and all(call.failures for call in calls)):
            return None  # one of them is made at once
        if not self._context.parks or self._mailbox.waiters or self._flights.is_any_away:
            return None
        until_ms = min((pause.until_ms or FOR_EVER_MS for pause in decision.pauses), default=FOR_EVER_MS)
        due_ms = min((self._attempts.due_ms(call, self._ahead) for call in calls), default=FOR_EVER_MS)
        now = self._now()
        is_worth_it = due_ms - now >= PARK_BACK_OFF_FROM_S * 1000 and until_ms - now >= PARK_FROM_S * 1000
        return min(until_ms, due_ms) if is_worth_it else None

    def _take_in(self) -> None:
        self._take_in_outcomes()
        if self._mailbox.commands:
            self._apply_commands()
        elif self._mailbox.deliveries:
            # One at a time: what a wait makes of an event comes before the next event is looked at.
            delivery, kept = self._mailbox.deliveries.popleft()
            with _told_of_mistakes(kept, _delivery_lost):
                self._take_delivery(delivery, kept)

    def _take_in_outcomes(self) -> None:
        for call, row in self._flights.landed():
            self._settle(call, row)

    def _apply_commands(self) -> None:
        while self._mailbox.commands:
            command, done = self._mailbox.commands.popleft()
            with _told_of_mistakes(done, _command_lost):
                self._apply_command(command, done)

    def _apply_command(self, command: OperatorCommand, done: "asyncio.Future[None]") -> None:
        try:
            row = row_for(command, self.saga, self._ahead, self._now())
            self._check_no_pivot_has_left(row)
        except CommandRejected as refusal:
            reject(done, refusal)
            return
        if row is not None:
            _logger.warning("an operator's command", act=command.act, by=command.by, step=command.step)
            self._call_off_for(row)
            self.append(self._requests.complete(row))
        self._tell(done, None, _command_lost)

    def _check_no_pivot_has_left(self, row: LogEvent | None) -> None:
        if isinstance(row, Cancelled) and (pivot := self._pivot_on_its_way()):
            raise CommandRejected(f"its pivot {pivot} is being called: wait for what comes of it")

    def _pivot_on_its_way(self) -> str:
        pivots = (step.name for step in self.saga.calls if step.kind is StepKind.PIVOT)
        return next((name for name in pivots if self._flights.has_left((name, Direction.ACTION))), "")

    def _take_delivery(self, delivery: Delivery, done: "asyncio.Future[bool]") -> None:
        try:
            row = row_of(delivery, self.saga, self._ahead, self._now(), is_alone=self._context.is_alone)
            if isinstance(row, Cancelled) and (pivot := self._pivot_on_its_way()):
                raise NotDelivered(Refusal.TOO_LATE, f"the pivot {pivot} is being called")
        except NotDelivered as refusal:
            count_delivery(self.saga.name, delivery.event, refusal.refusal.value.lower())
            self._tell(done, refusal, _delivery_lost)
            return
        count_delivery(self.saga.name, delivery.event, "taken" if row else "repeated")
        if row is not None:
            self._call_off_for(row)
            self.append(row)
        self._tell(done, row is not None, _delivery_lost)

    def _call_off_for(self, row: LogEvent) -> None:
        """Calls that a cancelled saga has under way, and the one that is held, may have happened."""
        match row:
            case Cancelled():
                away = self._flights.call_off_all()
            case Held():
                away = self._flights.call_off_one((row.step, row.direction))
            case _:
                return
        for call in away:
            self.append(
                Failed(
                    at_ms=row.at_ms,
                    step=call.key,
                    direction=call.direction,
                    attempt=call.attempt,
                    outcome=Outcome.DOUBT,
                    code=Code.CANCELLED,
                    domain=DOMAIN,
                    reason=CALLED_OFF,
                    message="the call was called off",
                )
            )

    def _tell(self, done: "asyncio.Future[Any]", result: object, lost: Callable[[], Exception]) -> None:
        """Say what came of it, once what it rests on is written; `lost` if that is never written."""
        if self._pending:
            self._applied.append(_Applied(done, result, lost))
        else:
            _answer(done, result)

    def _tell_lost(self) -> None:
        """What is in `_pending` is not written by this process."""
        applied, self._applied = self._applied, []
        for each in applied:
            reject(each.done, each.lost())

    def _tell_unwritten(self, error: JournalUnavailable) -> None:
        """Let nobody wait for the disk: what was applied is written once that can be, and the rest is not taken."""
        applied, self._applied = self._applied, []
        for each in applied:
            reject(each.done, error)
        self._mailbox.refuse_all(error)

    async def _call_alone(self, call: StepCall) -> None:
        wake, is_first = self._mailbox.wake, self.is_in_line
        row = await self._attempts.make(call, self._ahead, wake, self._leave_line, is_first=is_first)
        if row is not None:
            self.append(row)
            self._mailbox.was_tried()

    async def _go_on(self, decision: CallNow) -> None:
        """Make the calls, and wait until something comes of one of them, or comes from outside."""
        # While the rows were written something may have come: the decision may be another one now.
        if self._flights.has_landed or self._mailbox.has_mail():
            return
        if not decision.calls:
            self._leave_line()  # it waits for no service: who waits behind it would be refused for nothing
        self._flights.follow(decision.calls, self._ahead, self._leave_line, is_first=self.is_in_line)
        next_end = min(
            (pause for pause in decision.pauses if pause.until_ms is not None), key=_end_of, default=None
        )
        if next_end is None:
            await self._mailbox.wake.wait()
            self._mailbox.wake.clear()
            return
        left_s = (_end_of(next_end) - self._now()) / 1000
        # A clock that jumps is noticed in between: the end is a time of day.
        look_s = self._context.time.look_s
        is_woken = await self._attempts.pause(min(left_s, look_s), self._mailbox.wake)
        if not is_woken and left_s <= look_s:
            self._end_pause(next_end)

    def _leave_line(self) -> None:
        if self.is_in_line:
            self.is_in_line = False
            self._context.admission.leave(self.durable.accepted.saga_id, self._context.time.monotonic_s())

    def _end_pause(self, pause: Pause) -> None:
        """Its time has come."""
        now = self._now()
        if pause.is_deadline:
            self.append(TimeUp(at_ms=now, step=pause.key, direction=Direction.ACTION))
        elif pause.element is None or isinstance(pause.element, Delay):
            row = Done(at_ms=now, step=pause.key, attempt=0, response=b"", next=NextRequest())
            self.append(self._followed(row))
        else:
            self.append(self._answering(TimedOut(at_ms=now, step=pause.key)))

    def _settle(self, call: StepCall, row: AttemptRow | Exception | None) -> None:
        """Note what came of a call; nothing if it was not made."""
        if row is None:
            return
        self._mailbox.was_tried()
        match row:
            case Exception():
                self.append(self._row(GetStuck(call.direction, _mistake(row, call.key))))
            case Done() if self._ahead.turned_back:
                pass  # what is undone is fixed: a late answer changes nothing
            case Done():
                self.append(self._followed(row))
            case Failed() if self._ahead.turned_back and row.direction is Direction.ACTION:
                pass
            case _:
                self.append(row)

    def _followed(self, row: Done) -> LogEvent:
        """A step is done: with what is sent to the next one where that one alone becomes ready, and with the answer."""
        response = row.response if row.event is None else self._ahead.events[row.event].payload
        following = self._requests.after(row.step, response)
        if self.saga.is_line:
            return replace(row, next=following, result=self._requests.answered_by(row.step))
        return self._answering(replace(row, next=self._next_call(row)))

    def _next_call(self, row: Done) -> NextRequest:
        if row.step.endswith("]"):  # of a thousand items one is the last: to ask after each is dear
            return NextRequest()
        match decide(self.saga, self._ahead.with_row(row)):
            case Plan((Step(when=None, for_each=None) as step,)):
                return self._requests.next_of(step)
            case _:
                return NextRequest()

    def _answering(self, row: _Answering, others: Sequence[LogEvent] = ()) -> _Answering:
        """The row with the saga's result, if the element that answers is settled by it and the rows that follow it."""
        after = self.saga.respond.after
        if after in _AT_NO_STEP or self._ahead.result or self._ahead.turned_back or self.saga.is_line:
            return row
        history = self._ahead.with_rows((row, *others))
        return replace(row, result=self._requests.success()) if is_settled(self.saga, history, after) else row

    def _answering_plan(self, rows: Sequence[LogEvent]) -> Sequence[LogEvent]:
        """An element may be settled as it is planned: one that is skipped, or a loop with nothing to do."""
        first, *others = rows
        if not isinstance(first, Skipped | LoopPlanned):
            return rows
        return self._answering(first, others), *others

    def _carry_out(self, decision: Plan | Receive | PassOver | GiveUp | TurnBack | End | GetStuck) -> None:
        match decision:
            case Plan(elements):
                for element in elements:
                    self.append(*self._answering_plan(self._requests.plan(element, self._now())))
            case Receive():
                self._receive(decision)
            case _:
                self.append(self._row(decision))

    def _receive(self, decision: Receive) -> None:
        event, wait, now = self._ahead.events[decision.event], decision.wait, self._now()
        if wait.decline and self._requests.declines(wait, event):
            self.append(
                Failed(
                    at_ms=now,
                    step=wait.name,
                    direction=Direction.ACTION,
                    attempt=1,
                    outcome=Outcome.REFUSED,
                    code=Code.FAILED_PRECONDITION,
                    reason=wait.decline.reason,
                    message=f"the event {event.event} declined it",
                    event=decision.event,
                )
            )
            return
        row = Done(
            at_ms=now,
            step=wait.name,
            attempt=0,
            response=b"",
            next=NextRequest(),
            event=decision.event,
        )
        self.append(self._followed(row))

    async def _write(self, wake_ms: int | None = None) -> None:
        """Bring the log up to `_ahead`, waiting for the disk if one of the rows must be durable.

        `wake_ms` is what it has to say of the saga's waiting, as the journal has it.
        """
        while self._pending or wake_ms != self._wake_ms:
            try:
                # All at once: a row that need not be durable may precede one that must be, and never follows it.
                # Of a saga that goes on waiting until the same time, the place where it waits may be another.
                if wake_ms or wake_ms != self._wake_ms or self._ahead.stuck is not self.durable.stuck:
                    await self._context.journal.append(
                        self._ref, self._pending, self._new_status(), wake_ms, self._at_steps()
                    )
                    self._wake_ms = wake_ms
                elif any(row.is_durable for row in self._pending):
                    await self._context.journal.append(self._ref, self._pending, self._new_status())
                else:
                    await self._context.journal.append_later(self._ref, self._pending)
            except JournalUnavailable as error:
                if self._mailbox.is_stopping:
                    return  # the next process finds the saga as it is in the log, and decides the same again
                self._tell_unwritten(error)
                await self._attempts.pause(error.retry_after_s, self._mailbox.wake)
            else:
                # Counted once written, and shown last: what is shown, answered or measured is in the log.
                count_rows(self._ahead.accepted, self._pending)
                if narrator := self._context.narrator:
                    narrator.tell_rows(self.saga, self._ahead, self._pending)
                if not self._is_alone:
                    observe_waits(self.saga, self._ahead, self._pending)
                self._pending = []
                self._show()

    def _at_steps(self) -> str:
        """The names of the steps that the saga is stuck at; of those that it waits at, if it only waits."""
        keys = [key for key in self._ahead.stuck if key]
        if not keys and isinstance(decision := decide(self.saga, self._ahead), CallNow):
            keys = [pause.key for pause in decision.pauses]
        return " ".join(dict.fromkeys(step_name(key) for key in keys))

    def _new_status(self) -> SagaStatus | None:
        """None: it is as it was."""
        status = self._ahead.status
        return status if status is not self.durable.status else None

    def _show(self) -> None:
        """Let others see what has just been written: the history, the result, and that commands are carried out."""
        if self._ahead.stuck:
            self._show_stuck()
        was_answered = self.durable.result is not None
        self.durable = self._ahead
        if self.durable.result:
            self._mailbox.answer(self.durable.result)
            if self._context.on_result and not was_answered:
                self._context.on_result(self.saga, self.durable.accepted, self.durable.result)
        applied, self._applied = self._applied, []
        for each in applied:
            _answer(each.done, each.result)

    def _show_stuck(self) -> None:
        accepted = self._ahead.accepted
        for key, stuck in self._ahead.stuck.items():
            if key not in self.durable.stuck:
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

    def _row(self, decision: PassOver | GiveUp | TurnBack | End | GetStuck) -> LogEvent:
        now, span_id = self._now(), self._ahead.accepted.trace.span_id
        match decision:
            case PassOver(step, reason, message):
                return PassedOver(at_ms=now, span_id=span_id, step=step, reason=reason, message=message)
            case GiveUp(failure):
                given_up = self._requests.complete(GaveUp(at_ms=now, span_id=span_id, failure=failure))
                assert isinstance(given_up, GaveUp)
                return self._answering(given_up)
            case TurnBack(failure, outcome, doubt):
                result = result_of_failure(self.saga, self._ahead, failure, outcome)
                return TurnedBack(
                    at_ms=now, span_id=span_id, failure=failure, outcome=outcome, result=result, doubt=doubt
                )
            case End(status):
                result = result_at_end(self._ahead, status, self._requests)
                return Ended(at_ms=now, span_id=span_id, status=status, result=result)
            case GetStuck(direction, failure):
                return Stuck(at_ms=now, span_id=span_id, direction=direction, failure=failure)

    async def _get_stuck(self, error: Exception) -> None:
        """A mistake of ours is shown as what it is, and stops this saga alone."""
        try:
            # From what is in the log: the rows that were pending may be what went wrong.
            self._tell_lost()
            self._ahead, self._pending, self.parked_until_ms = self.durable, [], None
            direction = Direction.COMPENSATION if self.durable.turned_back else Direction.ACTION
            failure = _mistake(error, self._step_under_way())
            self.append(self._row(GetStuck(direction, failure)))
            await self._write()
        except Exception:
            _logger.exception("a saga could not be marked as stuck", saga_id=self.durable.accepted.saga_id)

    def _step_under_way(self) -> str:
        """Empty if that can't be told: the mistake may be in telling it."""
        with suppress(Exception):
            calls: Sequence[StepCall] = current_calls(self.saga, self.durable)
            return calls[0].key if len(calls) == 1 else ""
        return ""


@contextmanager
def _told_of_mistakes(done: "asyncio.Future[Any]", lost: Callable[[], Exception]) -> Generator[None]:
    """A mistake of ours stops the saga, and leaves nobody waiting."""
    try:
        yield
    except Exception:
        reject(done, lost())
        raise


def _answer(done: "asyncio.Future[Any]", result: object) -> None:
    if isinstance(result, Exception):
        reject(done, result)
    else:
        accept(done, result)


def _end_of(pause: Pause) -> int:
    assert pause.until_ms is not None, "only pauses that end by themselves are asked"
    return pause.until_ms


def _mistake(error: Exception, step: str) -> Failure:
    if isinstance(error, CannotBuild):
        return Failure(Code.OUT_OF_RANGE.name, NOT_BUILT, str(error), step)
    return Failure(Code.INTERNAL.name, ENGINE_ERROR, f"{type(error).__name__}: {error}", step)
