"""One delivery of a request: from its metadata to the handler, and from the handler's end to what is recorded."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from betterproto2 import Message
from grpclib.const import Status as Code

from sagagen.runtime.identity import direct_id
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Direction, StepKind, Transaction
from sagagen.runtime.rpc.errors import OUTCOME_KEY, Declined, RpcError, refused
from sagagen.runtime.rpc.metadata import IDEMPOTENCY_KEY, SagaCall
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.service.barrier.rules import ActionState, RunHandler, State, records_refusal, unsettled
from sagagen.runtime.service.call import CallContext, Db, Deadline
from sagagen.runtime.service.manual import ANSWER_S, Attempts
from sagagen.runtime.service.methods import BoundMethod
from sagagen.runtime.service.outcome_cache import OutcomeCache
from sagagen.runtime.service.sqlite_store.members import Turn
from sagagen.runtime.service.sqlite_store.readers import Readers
from sagagen.runtime.service.sqlite_store.steps import BarredCall, CallResult, Handled
from sagagen.runtime.service.sqlite_store.writer import Writer


class Delivery(NamedTuple):
    """What arrived, and how errors of the service are signed."""

    bound: BoundMethod
    request: bytes
    key: str
    """The idempotency key; empty if the caller sent none."""
    saga: SagaCall | None
    """None for direct calls, which no saga makes."""
    deadline: Deadline
    trace: TraceContext | None
    """The span of this call."""
    schema: Schema
    domain: str
    """ErrorInfo.domain of the service's own refusals."""

    @classmethod
    def received(
        cls,
        bound: BoundMethod,
        request: bytes,
        metadata: Mapping[str, str],
        *,
        deadline: Deadline,
        trace: TraceContext | None,
        schema: Schema,
        domain: str,
    ) -> "Delivery":
        """Raises RpcError INVALID_ARGUMENT if the metadata is that of a saga's call, but not whole."""
        try:
            saga = SagaCall.from_metadata(metadata)
        except ValueError as error:
            raise RpcError(Code.INVALID_ARGUMENT, str(error)) from error
        key = metadata.get(IDEMPOTENCY_KEY, "")
        return cls(bound, request, key, saga, deadline, trace, schema, domain)

    async def read(self, readers: Readers) -> CallResult:
        """Run the handler on a view of what is committed; reads pass the barrier by."""
        message = self.bound.decode(self.request, self.schema)
        async with readers.read() as db:
            return (await self._handle(self._call(db), write=None, message=message)).outcome

    async def write(self, writer: Writer, attempts: Attempts, fast_path: OutcomeCache) -> CallResult:
        """Pass the barrier, run the handler in the service's transaction, and wait for the commit."""
        barred = self.saga or self._direct_call(writer.purged_through_ms)
        write = BarredCall(barred, self._digest(), self.trace, self.bound.method.path)
        if barred and (settled := await self._find_settled(barred, write.digest, fast_path)):
            return settled
        if barred and (error := await attempts.await_action(barred, self.deadline)):
            return CallResult(error=error)
        try:
            message: Message | RpcError = self.bound.decode(self.request, self.schema)
        except RpcError as error:
            if self.saga is None:
                raise
            # The barrier comes first: what was done under yesterday's rules is still answered as done.
            message = error
        if self.bound.method.transaction is Transaction.MANUAL:
            return await self._write_manually(write, message, attempts)

        async def run(turn: Turn) -> Handled:
            if barred and turn.ruling.action is ActionState.UNKNOWN and attempts.of_action(barred):
                return Handled(CallResult(error=unsettled(ANSWER_S)))
            return await self._handle(self._call(turn.db, ruling=turn.ruling), write=write, message=message)

        return await writer.write(write, run)

    async def _find_settled(
        self, barred: SagaCall, digest: bytes, fast_path: OutcomeCache
    ) -> CallResult | None:
        """A first attempt has most likely not been settled; so it does not ask. Direct calls count no attempts."""
        if self.saga and self.saga.attempt == 1:
            return None
        return await fast_path.find(barred, digest, self.deadline.clock.wall_ms(), self.trace)

    async def _write_manually(
        self, write: BarredCall, message: Message | RpcError, attempts: Attempts
    ) -> CallResult:
        async def run(begin: Callable[[], Awaitable[Db]], ruling: RunHandler) -> Handled:
            return await self._handle(self._call(begin=begin, ruling=ruling), write=write, message=message)

        refusal = message if isinstance(message, RpcError) else None
        return await attempts.write(write, refusal, self.deadline, run)

    def _call(
        self,
        db: Db | None = None,
        *,
        begin: Callable[[], Awaitable[Db]] | None = None,
        ruling: RunHandler | None = None,
    ) -> CallContext:
        return CallContext(
            db=db,
            begin=begin,
            deadline=self.deadline,
            saga=self.saga,
            idempotency_key=self.saga.idempotency_key if self.saga else self.key,
            rpc=self.bound.method.path,
            is_repeat=ruling is not None and ruling.is_repeat,
            action=ruling.action if ruling else None,
        )

    async def _handle(
        self, call: CallContext, *, write: BarredCall | None, message: Message | RpcError
    ) -> Handled:
        if isinstance(message, RpcError):
            return Handled(CallResult(error=message))
        try:
            response = await self.bound.run(message, call)
        except Declined as declined:
            return self._declined(declined, write)
        except RpcError as error:
            return Handled(CallResult(error=self._as_ours(error)))
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            return self._failed(call, error)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything; the caller learns no more than that
            return self._failed(call, error)
        return Handled(
            CallResult(response), write.record(State.DONE, response) if write else None, keeps_effects=True
        )

    def _declined(self, declined: Declined, write: BarredCall | None) -> Handled:
        barred = write.saga if write else self.saga
        is_settled = records_refusal(barred) if barred else write is None
        if not is_settled:
            error = RpcError(
                Code.FAILED_PRECONDITION, declined.message, reason=declined.reason, domain=self.domain
            )
            return Handled(CallResult(error=error))
        error = refused(declined.reason, declined.message, domain=self.domain)
        outcome = error.to_status().SerializeToString()
        return Handled(CallResult(error=error), write.record(State.REFUSED, outcome) if write else None)

    def _failed(self, call: CallContext, error: BaseException) -> Handled:
        call.logger.error("the handler failed", exc_info=error)
        # No text of the exception: it may hold what the caller must not see.
        return Handled(
            CallResult(error=RpcError(Code.INTERNAL, "the handler failed; the service's log says why"))
        )

    def _as_ours(self, error: RpcError) -> RpcError:
        """An error that the handler raised or let through.

        Nothing was recorded here, so it must not look like a refusal or like a ruling of this service's barrier.
        """
        if error.code is Code.OK:
            return RpcError(Code.INTERNAL, error.message)
        if not error.is_ours and not error.is_refusal:
            return error
        return RpcError(
            error.code,
            error.message,
            reason=error.reason,
            domain=self.domain if error.is_ours else error.domain,
            metadata={name: value for name, value in error.metadata.items() if name != OUTCOME_KEY},
            retry_after_s=error.retry_after_s,
            violations=error.violations,
        )

    def _direct_call(self, purged_through_ms: int) -> SagaCall | None:
        """A direct write with a key, in the barrier's terms. Without a key nobody can repeat it."""
        if not self.key:
            return None
        method = self.bound.method.path
        return SagaCall(
            # The gateway has put the caller into the key.
            saga_id=direct_id("", method, self.key),
            run="",
            # Never counted as forgotten, wherever this machine's clock stands.
            started_ms=max(self.deadline.clock.wall_ms(), purged_through_ms + 1),
            step=method,
            kind=StepKind.COMPENSATABLE,
            direction=Direction.ACTION,
            attempt=1,
            not_after_ms=self.deadline.at_ms,
        )

    def _digest(self) -> bytes:
        return hashlib.sha256(self.bound.method.path.encode() + b"\0" + self.request).digest()


def _is_cancelled() -> bool:
    """Whether somebody cancelled this task; a handler may also raise CancelledError on its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
