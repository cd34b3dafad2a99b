"""Calls of `transaction: manual` methods: local effects once, the third party at least once, always with one key.

Theory of operation. A row PENDING is committed before the handler runs, so that whatever happens to this process, a
compensation knows that the third party may have acted. The handler then runs in a task of its own, an `Attempt`, which
outlives the rpc that began it but not its not-after. Repeats join the attempt. What the attempt leaves, DONE or
REFUSED, replaces PENDING in the transaction of its local effects; an attempt that fails or dies leaves PENDING, and the
next repeat runs the handler again with the same key.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from random import Random, SystemRandom
from typing import Any

from grpclib.const import Status as Code

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Handled, unavailable
from sagagen.runtime.service.barrier.rules import ActionState, RunHandler, State, unsettled
from sagagen.runtime.service.call import Db, Deadline
from sagagen.runtime.service.store import OpenTurn, ServiceStore, Turn, held_too_long

ANSWER_S = 0.1
"""Seconds before its deadline at which a call that waits is answered, so that the answer still arrives."""

Handler = Callable[[Callable[[], Awaitable[Db]], RunHandler], Awaitable[Handled]]
"""Runs the handler, with `call.begin` and what the barrier said."""
Spawn = Callable[[Coroutine[Any, Any, None], BarredCall], object]
"""Runs what outlives its rpc, on behalf of a call."""
_Key = tuple[str, str, Direction]


def _key(call: SagaCall) -> _Key:
    return call.saga_id, call.step, call.direction


def runs_elsewhere() -> RpcError:
    """For a repeat that came to another replica than the one that runs the call."""
    return RpcError(Code.UNAVAILABLE, "another replica runs this call", retry_after_s=ANSWER_S)


class Attempt:
    """One run of a manual handler."""

    def __init__(self, decision: RunHandler) -> None:
        self.decision = decision
        self._result: asyncio.Future[CallResult] = asyncio.get_running_loop().create_future()

    def end(self, result: CallResult) -> None:
        """Only the first end counts."""
        if not self._result.done():
            self._result.set_result(result)

    async def result(self) -> CallResult:
        """Wait for its end. Cancelling the waiting does not touch the attempt."""
        return await asyncio.shield(self._result)

    async def has_ended(self, within_s: float) -> bool:
        await asyncio.wait({self._result}, timeout=within_s)
        return self._result.done()


class Attempts:
    """The manual calls that run in this process now. PENDING rows of others are of attempts that have ended."""

    def __init__(self, store: ServiceStore, spawn: Spawn, random: Random | None = None) -> None:
        self.incarnation = f"{(random or SystemRandom()).getrandbits(64):016x}"
        """Of this process."""
        self.store = store
        self._spawn = spawn
        self._live: dict[_Key, Attempt] = {}

    async def write(
        self, call: BarredCall, refusal: RpcError | None, deadline: Deadline, handler: Handler
    ) -> CallResult:
        """Join the attempt that is under way, or begin one.

        `refusal`: why the handler can't run, unless the call was done before.
        """
        if call.saga is None:
            if refusal:
                return CallResult(error=refusal)
            return await _Run(self.store, call, handler, RunHandler(), deadline.remaining_s()).result()
        return await _Claim(self, call, call.saga, refusal, handler, deadline).result()

    def of_action(self, compensation: SagaCall) -> Attempt | None:
        """The attempt that a compensation would undo, if it is still under way."""
        return self._live.get((compensation.saga_id, compensation.step, Direction.ACTION))

    async def await_action(self, compensation: SagaCall, deadline: Deadline) -> RpcError | None:
        """Let the action come to its end before it is undone. The error is for when that takes too long."""
        attempt = self.of_action(compensation)
        if attempt is None or await attempt.has_ended(max(0.0, deadline.remaining_s() - ANSWER_S)):
            return None
        return unsettled(ANSWER_S)

    def begin(self, call: SagaCall, decision: RunHandler) -> Attempt:
        """From now on repeats join it."""
        attempt = self._live[_key(call)] = Attempt(decision)
        return attempt

    def find(self, call: SagaCall) -> Attempt | None:
        """The attempt of the same call, if it is under way."""
        return self._live.get(_key(call))

    def start(
        self, attempt: Attempt, call: BarredCall, saga: SagaCall, handler: Handler, limit_s: float
    ) -> None:
        """Run the handler in a task of its own, for at most `limit_s` seconds."""
        run = _Run(self.store, call, handler, attempt.decision, limit_s)
        self._spawn(self._attend(attempt, saga, run), call)

    async def is_under_way(self, compensation: SagaCall) -> bool:
        """Whether the action that a compensation would undo still runs, here or in another replica."""
        action = compensation._replace(direction=Direction.ACTION)
        return self.of_action(compensation) is not None or await self.store.is_held_elsewhere(action)

    async def drop(self, attempt: Attempt, call: SagaCall, result: CallResult) -> None:
        """It has ended: whoever has joined it gets the result."""
        del self._live[_key(call)]
        attempt.end(result)
        await self.store.release(call)

    async def _attend(self, attempt: Attempt, call: SagaCall, run: "_Run") -> None:
        result = unavailable("the service stopped during the call")
        try:
            result = await run.result()
        finally:
            await self.drop(attempt, call, result)


class _Claim:
    """One delivery's way to an attempt: it finds one under way, or commits PENDING and starts one."""

    def __init__(
        self,
        attempts: Attempts,
        call: BarredCall,
        saga: SagaCall,
        refusal: RpcError | None,
        handler: Handler,
        deadline: Deadline,
    ) -> None:
        self._attempts = attempts
        self._call = call
        self._saga = saga
        self._refusal = refusal
        self._handler = handler
        self._deadline = deadline
        self._attempt: Attempt | None = None
        self._is_mine = False

    async def result(self) -> CallResult:
        result = unavailable("the call was abandoned")
        try:
            result = await self._attempts.store.write(self._call, self._find_or_begin)
        finally:
            # Not before PENDING is committed: the third party is not called on behalf of a row that may be lost.
            if self._attempt and self._is_mine:
                await self._start_or_drop(self._attempt, result)
        if self._attempt is None or result.error is not None:
            return result
        return await self._attempt.result()

    async def _find_or_begin(self, turn: Turn) -> Handled:
        """In the call's turn, so that no two deliveries begin one each. The store may run it again for another turn."""
        if self._refusal:
            return Handled(CallResult(error=self._refusal))
        if turn.decision.action is ActionState.UNKNOWN and await self._attempts.is_under_way(self._saga):
            return Handled(CallResult(error=unsettled(ANSWER_S)))
        if not self._is_mine:
            self._attempt = self._attempts.find(self._saga)
            if self._attempt is not None:
                return Handled(CallResult())
            if not await self._attempts.store.hold(self._saga):
                return Handled(CallResult(error=runs_elsewhere()))
            self._is_mine = True
            self._attempt = self._attempts.begin(self._saga, turn.decision)
        pending = self._call.record(State.PENDING, incarnation=self._attempts.incarnation)
        return Handled(CallResult(), pending, keeps_effects=True)

    async def _start_or_drop(self, attempt: Attempt, claimed: CallResult) -> None:
        if claimed.error is not None:
            await self._attempts.drop(attempt, self._saga, claimed)
            return
        limit_s = max(0.0, (self._saga.not_after_ms - self._deadline.clock.wall_ms()) / 1000)
        self._attempts.start(attempt, self._call, self._saga, self._handler, limit_s)


class _Run:
    """A manual handler's run, with the transaction that it opens near its end."""

    def __init__(
        self, store: ServiceStore, call: BarredCall, handler: Handler, decision: RunHandler, limit_s: float
    ) -> None:
        self._store = store
        self._call = call
        self._handler = handler
        self._decision = decision
        self._limit = asyncio.timeout(limit_s)
        self._turn: OpenTurn | None = None
        self._refusal: CallResult | None = None
        """What came in place of a turn."""

    async def result(self) -> CallResult:
        try:
            return await self._settle(await self._handle())
        finally:
            if self._turn:
                self._turn.abandon()

    async def _handle(self) -> Handled:
        try:
            async with self._limit:
                return await self._handler(self._begin, self._decision)
        except TimeoutError:
            if self._turn:
                return held_too_long(self._call, self._store.hold_limit_s)
            late = RpcError(Code.DEADLINE_EXCEEDED, "the handler did not end before the call's deadline")
            return Handled(CallResult(error=late))

    async def _begin(self) -> Db:
        # From its turn on the store's own limit is in force too.
        turn = await self._store.turn(self._call, self._limit)
        if isinstance(turn, CallResult):
            self._refusal = turn
            raise turn.error or RpcError(Code.ABORTED, "the call is settled already")
        self._turn = turn
        return turn.db

    async def _settle(self, handled: Handled) -> CallResult:
        """Commit what the handler's end asks for; PENDING stays where that is nothing."""
        if self._turn:
            self._turn.finish(handled)
            return await self._turn.commit()
        if self._refusal:
            return self._refusal
        if handled.record is None:
            return handled.result

        async def record(_: Turn) -> Handled:
            return handled

        return await self._store.write(self._call, record)
