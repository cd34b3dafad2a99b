"""Makes one attempt of a saga's call: waits until it is time and there is a place, sends it, and says what came."""

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import Generic
from zlib import crc32

from sagagen.runtime.engine.calls import failed_row
from sagagen.runtime.engine.context import EngineContext, Ref
from sagagen.runtime.engine.requests import Requests
from sagagen.runtime.engine.row_metrics import observe_attempt
from sagagen.runtime.engine.spans import attempt_span
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.saga.decision import StepCall
from sagagen.runtime.saga.events import Compensated, Done, Failed, NextRequest, TimeUp
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.result import SagaResult
from sagagen.runtime.saga.retry import backoff_s
from sagagen.runtime.telemetry import spans as tracing

Follow = Callable[[str, bytes], tuple[NextRequest, SagaResult | None]]
"""From a step and its response: what is sent to the next step, and the saga's result."""

_NOTHING: tuple[NextRequest, None] = (NextRequest(), None)


def nothing_follows(_step: str, _response: bytes) -> tuple[NextRequest, None]:
    """It is left for whoever decides."""
    return _NOTHING


AttemptRow = Done | Failed | Compensated | TimeUp


class Attempts(Generic[Ref]):
    """The attempts of one saga."""

    def __init__(
        self,
        context: EngineContext[Ref],
        requests: Requests,
        is_called_off: Callable[[], bool],
        follow: Follow = nothing_follows,
    ) -> None:
        """`is_called_off` says whether no call may begin now, since something else has to be looked at first.

        `follow` says what follows from a step's response, if that can be told at once.
        """
        self._follow = follow
        self._context = context
        self._requests = requests
        self._is_called_off = is_called_off
        self._now = context.time.now_ms

    async def make(
        self,
        call: StepCall,
        history: History,
        wake: asyncio.Event,
        on_send: Callable[[], None],
        *,
        is_first: bool = False,
    ) -> AttemptRow | None:
        """Wait until it is time, and make the call. None if it was woken, or called off: decide again.

        `on_send` is called before the call leaves.
        """
        # Without the service's slot: a saga that waits to repeat a call keeps no other from its first one.
        if call.failures and await self.pause((self.due_ms(call, history) - self._now()) / 1000, wake):
            return None
        slots = self._context.calls.slots(call.action.service)
        await slots.take(is_first=is_first)
        try:
            # Looked at again, and the clock too: it may have taken long to get the slot.
            if self._is_called_off():
                return None
            left_s = self._left_s(call)
            if left_s is not None and left_s <= 0:
                return TimeUp(at_ms=self._now(), step=call.key, direction=call.direction)
            on_send()
            return await self._send(call, history, left_s if call.is_cut_short else None)
        finally:
            slots.give_back()

    async def pause(self, seconds: float, wake: asyncio.Event) -> bool:
        """Wait; true if woken, which says that something outside has changed."""
        if seconds <= 0:
            return False
        await self._context.journal.rest(seconds, wake)
        # Cleared only now: what sets it before `rest` begins, or after it has timed out, is not lost.
        is_woken = wake.is_set()
        wake.clear()
        return is_woken

    def due_ms(self, call: StepCall, history: History) -> int:
        """When it is time to repeat a call that failed, ms since the epoch: the same whoever asks, and whenever."""
        # Not drawn anew: whatever interrupts the wait, and if the saga leaves memory, the end is where it was.
        drawn = Random(crc32(f"{history.accepted.run} {call.key} {call.direction} {call.attempt}".encode()))
        delay_s = backoff_s(call.action.retry, call.failures, call.retry_after_s, drawn)
        due_ms = call.failed_ms + round(delay_s * 1000)
        return due_ms if call.give_up_at_ms is None else min(due_ms, call.give_up_at_ms)

    def _left_s(self, call: StepCall) -> float | None:
        return None if call.give_up_at_ms is None else (call.give_up_at_ms - self._now()) / 1000

    async def _send(
        self, call: StepCall, history: History, at_most_s: float | None
    ) -> Done | Failed | Compensated:
        request = self._requests.request(call, history)
        begun_ns, begun_s = time.time_ns(), time.perf_counter()
        timeout_s = min(call.action.timeout_s, at_most_s if at_most_s is not None else call.action.timeout_s)
        accepted = history.accepted
        span = accepted.trace.child(self._context.random)
        metadata = self._saga_call(call, history, timeout_s).to_metadata() | span.to_metadata()
        try:
            response = await self._context.calls.send(
                call.action.service, call.action.method.path, request, metadata, timeout_s
            )
        except RpcError as error:
            row = failed_row(call, error, self._now(), span.span_id)
        else:
            row = self._answered(call, response, span.span_id)
        took_s = time.perf_counter() - begun_s
        observe_attempt(accepted, row, took_s)
        if narrator := self._context.narrator:
            narrator.tell_attempt(accepted, row, took_s)
        if (spans := tracing.active()) and span.is_sampled:
            spans.record(attempt_span(accepted, call, row, begun_ns, took_s))
        return row

    def _saga_call(self, call: StepCall, history: History, timeout_s: float) -> SagaCall:
        accepted = history.accepted
        return SagaCall(
            saga_id=accepted.saga_id,
            run=accepted.run,
            started_ms=accepted.started_ms,
            step=call.key,
            kind=call.step.kind,
            direction=call.direction,
            attempt=call.attempt,
            not_after_ms=self._context.time.wall_ms() + max(1, round(timeout_s * 1000)),
            caller=accepted.caller,
            claims=accepted.claims,
        )

    def _answered(self, call: StepCall, response: bytes, span_id: str) -> Done | Compensated:
        now, attempt = self._now(), call.attempt
        if call.direction is Direction.COMPENSATION:
            return Compensated(at_ms=now, span_id=span_id, step=call.key, attempt=attempt)
        following, result = self._follow(call.key, response)
        return Done(
            at_ms=now,
            span_id=span_id,
            step=call.key,
            attempt=attempt,
            response=response,
            next=following,
            result=result,
        )
