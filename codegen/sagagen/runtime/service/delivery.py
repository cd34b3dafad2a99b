"""One delivery of a request: from its metadata to the handler, and from the handler's end to what is recorded."""

import hashlib
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import structlog
from betterproto2 import Message
from grpclib.const import Status as Code

from sagagen.runtime.contained import as_logged, is_cancelled
from sagagen.runtime.identity import direct_id
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Direction, StepKind, Transaction
from sagagen.runtime.model.security import ClaimValue
from sagagen.runtime.rpc.caller_claims import NO_CLAIMS, claims_of, claims_told
from sagagen.runtime.rpc.errors import DECLINED, OUTCOME_KEY, Declined, RpcError, refused
from sagagen.runtime.rpc.limits import wire_form
from sagagen.runtime.rpc.metadata import SagaCall, called_by, direct_key
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Handled
from sagagen.runtime.service.barrier.rules import ActionState, RunHandler, State, records_refusal, unsettled
from sagagen.runtime.service.call import CallContext, Db, Deadline
from sagagen.runtime.service.manual import ANSWER_S, Attempts
from sagagen.runtime.service.methods import BoundMethod, SagaCalls
from sagagen.runtime.service.outcome_cache import OutcomeCache
from sagagen.runtime.service.store import ServiceStore, Turn

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

FAILED = "the handler failed; the service's log says why"
"""All that a caller learns of an exception: its text may hold what the caller must not see."""


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """What all deliveries to one service share."""

    store: ServiceStore
    attempts: Attempts
    outcome_cache: OutcomeCache
    schema: Schema
    domain: str
    """ErrorInfo.domain of the service's own refusals."""
    calls: SagaCalls | None = None
    """The calls that sagas make; None if nobody knows them."""
    unwritten: set[str] = field(default_factory=set[str])
    """Paths of rpcs whose handlers have said that nobody has written them yet."""
    default_claims: Mapping[str, ClaimValue] = field(default_factory=lambda: NO_CLAIMS)
    """The claims that the contract names, each with its type's default."""

    def claims_of(self, text: str) -> Mapping[str, ClaimValue]:
        """What a handler learns of a caller, from canonical JSON: all that the contract names, and nothing else.

        A claim of another type than today's contract gives it, which an earlier one sent, is not there.
        """
        if not text:
            return self.default_claims
        told = claims_of(text)
        return {
            name: value if type(value := told.get(name, default)) is type(default) else default
            for name, default in self.default_claims.items()
        }


class Delivery(NamedTuple):
    """What arrived, and where."""

    context: DeliveryContext
    bound: BoundMethod
    request: bytes
    key: str
    """The idempotency key of a direct call; empty if the caller sent none."""
    caller: str
    """Whom the gateway calls for; empty if it did not say."""
    claims: str
    """What it says of them besides, as canonical JSON; empty if nothing."""
    saga: SagaCall | None
    """None for direct calls, which no saga makes."""
    deadline: Deadline
    trace: TraceContext | None
    """The span of this call."""

    @classmethod
    def parse(
        cls,
        context: DeliveryContext,
        bound: BoundMethod,
        request: bytes,
        metadata: Mapping[str, str],
        *,
        deadline: Deadline,
        trace: TraceContext | None,
    ) -> "Delivery":
        """Raises RpcError: INVALID_ARGUMENT for metadata that no engine sends, UNAVAILABLE for a call of no saga."""
        try:
            saga = SagaCall.from_metadata(metadata)
            key, caller = ("", saga.caller) if saga else (direct_key(metadata), called_by(metadata))
            claims = saga.claims if saga else claims_told(metadata)
        except ValueError as error:
            raise RpcError(Code.INVALID_ARGUMENT, str(error)) from error
        if saga and context.calls is not None:
            context.calls.check(bound.method.path, saga)
        return cls(context, bound, request, key, caller, claims, saga, deadline, trace)

    async def read(self) -> CallResult:
        """Run the handler on a view of what is committed; reads pass the barrier by."""
        message = await self.bound.decode(self.request, self.context.schema)
        async with self.context.store.read() as db:
            return (await self._handle(None, message, db=db)).result

    async def write(self) -> CallResult:
        """Pass the barrier, run the handler in the service's transaction, and wait for the commit."""
        digest = hashlib.sha256(self.bound.method.path.encode() + b"\0" + self.request).digest()
        call = BarredCall(self.saga or self._direct_call(), digest, self.trace, self.bound.method.path)
        # A first attempt has most likely not been settled, so it does not ask. Direct calls count no attempts.
        may_be_settled = self.saga is None or self.saga.attempt > 1
        if may_be_settled and (settled := await self._find_settled(call)):
            return settled
        # Before the barrier, since a call that waits there has the turn, and others would wait with it.
        undo = self.saga if self.saga and self.saga.direction is Direction.COMPENSATION else None
        if undo and (error := await self.context.attempts.await_action(undo, self.deadline)):
            return CallResult(error=error)
        try:
            message: Message | RpcError = await self.bound.decode(self.request, self.context.schema)
        except RpcError as error:
            if self.saga is None:
                raise
            # The barrier comes first: what was done under yesterday's rules is still answered as done.
            message = error
        if self.bound.method.transaction is Transaction.MANUAL:
            return await self._write_manually(call, message)
        return await self.context.store.write(call, partial(self._handle_turn, call=call, message=message))

    async def _find_settled(self, call: BarredCall) -> CallResult | None:
        if call.saga is None:
            return None
        now_ms = self.deadline.clock.wall_ms()
        return await self.context.outcome_cache.find(call.saga, call.digest, now_ms, self.trace)

    async def _handle_turn(self, turn: Turn, *, call: BarredCall, message: Message | RpcError) -> Handled:
        # Once more, in the turn: an attempt of the action may have begun since this call looked.
        is_unknown = turn.decision.action is ActionState.UNKNOWN
        if is_unknown and call.saga and await self.context.attempts.is_under_way(call.saga):
            return Handled(CallResult(error=unsettled(ANSWER_S)))
        return await self._handle(call, message, decision=turn.decision, db=turn.db)

    async def _write_manually(self, call: BarredCall, message: Message | RpcError) -> CallResult:
        async def run(begin: Callable[[], Awaitable[Db]], decision: RunHandler) -> Handled:
            return await self._handle(call, message, decision=decision, begin=begin)

        refusal = message if isinstance(message, RpcError) else None
        return await self.context.attempts.write(call, refusal, self.deadline, run)

    async def _handle(
        self,
        call: BarredCall | None,
        message: Message | RpcError,
        *,
        decision: RunHandler | None = None,
        db: Db | None = None,
        begin: Callable[[], Awaitable[Db]] | None = None,
    ) -> Handled:
        """Run the handler. `call` is None for reads, which leave no record."""
        if isinstance(message, RpcError):
            return Handled(CallResult(error=message))
        context = CallContext(
            db=db,
            begin=begin,
            deadline=self.deadline,
            saga=self.saga,
            key=self.key,
            caller=self.caller,
            claims=self.context.claims_of(self.claims),
            rpc=self.bound.method.path,
            is_repeat=decision is not None and decision.is_repeat,
            action=decision.action if decision else None,
        )
        try:
            response = await self.bound.run(message, context)
        except BaseException as error:
            if is_cancelled(error):
                raise
            return self._ended(error, context, call)
        record = call.record(State.DONE, response) if call else None
        return Handled(CallResult(response), record, keeps_effects=True)

    def _ended(self, error: BaseException, context: CallContext, call: BarredCall | None) -> Handled:
        """What a handler's exception means. What is wrong with the exception itself is the handler's failure too."""
        try:
            if isinstance(error, Declined):
                return self._declined(error, call)
            if isinstance(error, RpcError):
                self._note_unwritten(error)
                return Handled(CallResult(error=self._as_ours(error)))
        except BaseException as broken:  # noqa: BLE001 - as above: the attributes of its class are code of the project
            return self._failed(context, broken)
        return self._failed(context, error)

    def _note_unwritten(self, error: RpcError) -> None:
        """Say once which handler is still to be written, and where it is."""
        path, said = self.bound.method.path, self.context.unwritten
        if error.code is Code.UNIMPLEMENTED and path not in said:
            said.add(path)
            _logger.warning("a handler is not written yet", handler=_place(error))

    def _declined(self, declined: Declined, call: BarredCall | None) -> Handled:
        saga = call.saga if call else self.saga
        is_settled = records_refusal(saga) if saga else call is None
        if not is_settled:
            error = RpcError(
                Code.FAILED_PRECONDITION,
                declined.message,
                reason=declined.reason,
                domain=self.context.domain,
                metadata={OUTCOME_KEY: DECLINED},
            )
            return Handled(CallResult(error=error))
        error = refused(declined.reason, declined.message, domain=self.context.domain)
        outcome = error.to_status().SerializeToString()
        return Handled(CallResult(error=error), call.record(State.REFUSED, outcome) if call else None)

    def _failed(self, context: CallContext, error: BaseException) -> Handled:
        context.logger.error("the handler failed", exc_info=as_logged(error))
        return Handled(CallResult(error=RpcError(Code.INTERNAL, FAILED)))

    def _as_ours(self, error: RpcError) -> RpcError:
        """An error that the handler raised or let through.

        Nothing was recorded here, so it must not look like a refusal or like a decision of this service's barrier.
        Raises what it raises where it can't be sent.
        """
        wire_form(error)
        if error.code is Code.OK:
            return RpcError(Code.INTERNAL, error.message)
        if not error.is_ours and OUTCOME_KEY not in error.metadata:
            return error
        return RpcError(
            error.code,
            error.message,
            reason=error.reason,
            domain=self.context.domain if error.is_ours else error.domain,
            metadata={name: value for name, value in error.metadata.items() if name != OUTCOME_KEY},
            retry_after_s=error.retry_after_s,
            violations=error.violations,
        )

    def _direct_call(self) -> SagaCall | None:
        """A direct write with a key, in the barrier's terms. Without a key nobody can repeat it."""
        if not self.key:
            return None
        method = self.bound.method.path
        return SagaCall(
            # The gateway has put the caller into the key.
            saga_id=direct_id("", method, self.key),
            run="",
            # Never counted as forgotten, wherever this machine's clock stands.
            started_ms=max(self.deadline.clock.wall_ms(), self.context.store.purged_through_ms + 1),
            step=method,
            kind=StepKind.COMPENSATABLE,
            direction=Direction.ACTION,
            attempt=1,
            not_after_ms=self.deadline.at_ms,
        )


def _place(error: BaseException) -> str:
    """`handlers/order.py:12 place_order`: the line of the project's code that raised it."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    module = str(frame.f_globals.get("__name__", ""))
    return f"{module.replace('.', '/')}.py:{line} {frame.f_code.co_name}"
