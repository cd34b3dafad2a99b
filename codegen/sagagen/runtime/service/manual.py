"""Calls of `transaction: manual` methods: local effects once, the third party at least once, always with one key.

Theory of operation. A row PENDING is committed before the handler runs, so that whatever happens to this process, a
compensation knows that the third party may have acted. The handler then runs in a task of its own, an `Attempt`, which
outlives the rpc that began it but not its not-after. Repeats join the attempt. What the attempt leaves, DONE or
REFUSED, replaces PENDING in the transaction of its local effects; an attempt that fails or dies leaves PENDING, and the
next repeat runs the handler again with the same key.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from grpclib.const import Status as Code

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.rules import RunHandler, State, unsettled
from sagagen.runtime.service.call import Db, Deadline
from sagagen.runtime.service.sqlite_store.members import Member, Turn, unavailable
from sagagen.runtime.service.sqlite_store.steps import BarredCall, CallResult, Handled
from sagagen.runtime.service.sqlite_store.writer import Writer

ANSWER_S = 0.1
"""Seconds before its deadline at which a call that waits is answered, so that the answer still arrives."""

Handler = Callable[[Callable[[], Awaitable[Db]], RunHandler], Awaitable[Handled]]
"""Runs the handler, with `call.begin` and what the barrier said."""
Spawn = Callable[[Coroutine[Any, Any, None]], object]
_Key = tuple[str, str, Direction]


def _key(call: SagaCall) -> _Key:
    return call.saga_id, call.step, call.direction


class Attempt:
    """One run of a manual handler."""

    def __init__(self, ruling: RunHandler) -> None:
        self.ruling = ruling
        self._outcome: asyncio.Future[CallResult] = asyncio.get_running_loop().create_future()

    def end(self, outcome: CallResult) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    async def outcome(self) -> CallResult:
        return await asyncio.shield(self._outcome)

    async def has_ended(self, within_s: float) -> bool:
        await asyncio.wait({self._outcome}, timeout=within_s)
        return self._outcome.done()


class Attempts:
    """The manual calls that run in this process now. PENDING rows of others are of attempts that have ended."""

    def __init__(self, writer: Writer, spawn: Spawn) -> None:
        self.incarnation = secrets.token_hex(8)
        """Of this process."""
        self._writer = writer
        self._spawn = spawn
        self._live: dict[_Key, Attempt] = {}

    async def write(
        self, write: BarredCall, refusal: RpcError | None, deadline: Deadline, handler: Handler
    ) -> CallResult:
        """Join the attempt that is under way, or begin one.

        `refusal`: why the handler can't run, unless the call was done before.
        """
        if write.saga is None:
            if refusal:
                return CallResult(error=refusal)
            return await _Run(self._writer, write, handler, RunHandler(), deadline.remaining_s()).outcome()
        return await _Claim(self, write, write.saga, refusal, handler, deadline).settle()

    def of_action(self, compensation: SagaCall) -> Attempt | None:
        """The attempt that a compensation would undo, if it is still under way."""
        return self._live.get((compensation.saga_id, compensation.step, Direction.ACTION))

    async def await_action(self, call: SagaCall, deadline: Deadline) -> RpcError | None:
        """Let the action come to its end before it is undone. The error is for when that takes too long."""
        attempt = self.of_action(call) if call.direction is Direction.COMPENSATION else None
        if attempt is None or await attempt.has_ended(max(0.0, deadline.remaining_s() - ANSWER_S)):
            return None
        return unsettled(ANSWER_S)

    def begin(self, call: SagaCall, ruling: RunHandler) -> Attempt:
        attempt = self._live[_key(call)] = Attempt(ruling)
        return attempt

    def find(self, call: SagaCall) -> Attempt | None:
        return self._live.get(_key(call))

    def start(
        self, attempt: Attempt, write: BarredCall, call: SagaCall, handler: Handler, limit_s: float
    ) -> None:
        run = _Run(self._writer, write, handler, attempt.ruling, limit_s)
        self._spawn(self._attend(attempt, call, run))

    def drop(self, attempt: Attempt, call: SagaCall, outcome: CallResult) -> None:
        del self._live[_key(call)]
        attempt.end(outcome)

    async def _attend(self, attempt: Attempt, call: SagaCall, run: "_Run") -> None:
        outcome = unavailable("the service stopped during the call")
        try:
            outcome = await run.outcome()
        finally:
            self.drop(attempt, call, outcome)

    async def claim(self, write: BarredCall, run: Callable[[Turn], Awaitable[Handled]]) -> CallResult:
        return await self._writer.write(write, run)


class _Claim:
    """One delivery's way to an attempt: it finds one under way, or commits PENDING and starts one."""

    def __init__(
        self,
        attempts: Attempts,
        write: BarredCall,
        call: SagaCall,
        refusal: RpcError | None,
        handler: Handler,
        deadline: Deadline,
    ) -> None:
        self._attempts = attempts
        self._write = write
        self._call = call
        self._refusal = refusal
        self._handler = handler
        self._deadline = deadline
        self._attempt: Attempt | None = None
        self._is_mine = False

    async def settle(self) -> CallResult:
        outcome = unavailable("the call was abandoned")
        try:
            outcome = await self._attempts.claim(self._write, self._find_or_begin)
        finally:
            if self._attempt and self._is_mine:
                self._start_or_drop(self._attempt, outcome)
        if self._attempt is None or outcome.error is not None:
            return outcome
        return await self._attempt.outcome()

    async def _find_or_begin(self, turn: Turn) -> Handled:
        """In the writer's turn, so that no two deliveries begin one each."""
        if self._refusal:
            return Handled(CallResult(error=self._refusal))
        if self._call.direction is Direction.COMPENSATION and self._attempts.of_action(self._call):
            return Handled(CallResult(error=unsettled(ANSWER_S)))
        self._attempt = self._attempts.find(self._call)
        if self._attempt is not None:
            return Handled(CallResult())
        self._is_mine = True
        self._attempt = self._attempts.begin(self._call, turn.ruling)
        pending = self._write.record(State.PENDING, incarnation=self._attempts.incarnation)
        return Handled(CallResult(), pending, keeps_effects=True)

    def _start_or_drop(self, attempt: Attempt, claimed: CallResult) -> None:
        if claimed.error is not None:
            self._attempts.drop(attempt, self._call, claimed)
            return
        limit_s = max(0.0, (self._call.not_after_ms - self._deadline.clock.wall_ms()) / 1000)
        self._attempts.start(attempt, self._write, self._call, self._handler, limit_s)


class _Run:
    """A manual handler's run, with the transaction that it opens near its end."""

    def __init__(
        self, writer: Writer, write: BarredCall, handler: Handler, ruling: RunHandler, limit_s: float
    ) -> None:
        self._writer = writer
        self._write = write
        self._handler = handler
        self._ruling = ruling
        self._limit = asyncio.timeout(limit_s)
        self._member: Member | None = None
        self._turn: Turn | None = None

    async def outcome(self) -> CallResult:
        try:
            return await self._settle(await self._handle())
        finally:
            self._close()

    async def _handle(self) -> Handled:
        try:
            async with self._limit:
                return await self._handler(self._begin, self._ruling)
        except TimeoutError:
            if self._turn:
                return self._writer.held_too_long(self._write)
            late = RpcError(Code.DEADLINE_EXCEEDED, "the handler did not end before the call's deadline")
            return Handled(CallResult(error=late))

    async def _begin(self) -> Db:
        # From its turn on the writer's own limit is in force too.
        self._member = Member(self._write, self._limit)
        self._turn = await self._writer.take(self._member)
        if self._turn is None:
            raise (await self._member.outcome).error or RpcError(Code.ABORTED, "the call is settled already")
        return self._turn.db

    async def _settle(self, handled: Handled) -> CallResult:
        """Commit what the handler's end asks for; PENDING stays where that is nothing."""
        if self._member and self._turn:
            self._turn.db.close()
            self._writer.finish(self._member, handled)
            return await self._member.outcome
        if self._member and self._member.outcome.done():
            return self._member.outcome.result()
        if handled.record is None:
            return handled.outcome

        async def record(_: Turn) -> Handled:
            return handled

        return await self._writer.write(self._write, record)

    def _close(self) -> None:
        if self._turn:
            self._turn.db.close()
        if self._member:
            self._writer.withdraw(self._member)
