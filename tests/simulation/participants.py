"""Services with the product's barrier over tables in memory, and a network that loses, doubles, delays and reorders."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any, NamedTuple

from grpclib.const import Status as Code
from made_up_sagas import SERVICES
from small_mesh import text

from sagagen.runtime.model.definition import Direction, Method, Saga, StepKind, Transaction
from sagagen.runtime.rpc.claim import CLAIM
from sagagen.runtime.rpc.errors import DECLINED, OUTCOME_KEY, RpcError, refused
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.service.barrier import rules
from sagagen.runtime.service.barrier.rules import (
    ActionState,
    BarrierRow,
    RecordEmpty,
    Replay,
    RunHandler,
    State,
    StepRows,
    TurnDown,
    records_refusal,
    unsettled,
)
from sagagen.testing.virtual_time import VirtualClock

BY_HAND = b"by hand"
"""Instead of a request's digest: a person did it, whatever the request would have been."""


@dataclass
class Weather:
    """How likely it is that something goes wrong, each of 1; times in seconds. It clears up for good."""

    refuses: float = 0.0
    """A handler says no to an action, for good."""
    declines: float = 0.0
    """It says no to what is retriable, for now."""
    refused: frozenset[str] = frozenset()
    """Step keys whose action is refused for good, whatever else is drawn."""
    fails: float = 0.1
    asks: float = 0.0
    """What fails asks for so long a pause that the saga leaves memory."""
    loses: float = 0.1
    """A request, and an answer."""
    doubles: float = 0.12
    slowest_s: float = 2.0
    straggles: float = 0.05
    """A message takes up to four times as long as any call is waited for."""

    def clear_up(self) -> None:
        self.refuses = self.declines = self.fails = self.loses = self.doubles = self.straggles = 0.0
        self.slowest_s = 0.2


class Deed(NamedTuple):
    """What a handler did."""

    step: str
    run: str
    direction: Direction
    is_by_hand: bool = False
    """A person did it."""


@dataclass(eq=False)
class Participant:
    """One service. Its clock may be behind the others'."""

    name: str
    random: Random
    weather: Weather
    clock: VirtualClock
    manual: frozenset[str]
    """Paths of methods whose handlers run outside of the transaction."""
    reads: frozenset[str]
    """Paths of methods that pass the barrier by."""
    notice: Callable[[str, Deed], None]
    purged_through_ms: int = 0
    """It has forgotten sagas that started by then."""
    deeds: list[Deed] = field(default_factory=list[Deed])
    """In the order in which the handlers ran."""
    rows: dict[tuple[str, Direction], BarrierRow] = field(
        default_factory=dict[tuple[str, Direction], BarrierRow]
    )
    _under_way: set[tuple[str, Direction]] = field(default_factory=set[tuple[str, Direction]])
    """Calls whose manual handler runs."""

    def deliver(self, path: str, request: bytes, metadata: Mapping[str, str]) -> Reply:
        """Raises RpcError."""
        call = SagaCall.from_metadata(metadata)
        assert call is not None
        digest = sha256(path.encode() + request).digest()
        if path in self.reads:
            self._may_fail(call, None)
            return Reply(text(call.step))
        match rules.rule(
            call, digest, self._rows_of(call, digest), self.purged_through_ms, self.clock.wall_ms()
        ):
            case TurnDown(error):
                raise error
            case Replay(row):
                return self._replay(row)
            case RecordEmpty():
                self.rows[call.step, call.direction] = BarrierRow(call.run, digest, State.EMPTY, b"")
                return Reply(b"")
            case RunHandler(action=action):
                return self._handle(call, path, digest, action)

    def _rows_of(self, call: SagaCall, digest: bytes) -> StepRows:
        owner = next((row.run for row in self.rows.values()), None)
        action, compensation = (self.rows.get((call.step, direction)) for direction in Direction)
        if compensation and compensation.digest == BY_HAND:
            compensation = compensation._replace(digest=digest)
        return StepRows(owner, action, compensation)

    def _replay(self, row: BarrierRow) -> Reply:
        if row.state is State.REFUSED:
            raise refused(row.outcome.decode(), "again", domain=self.name)
        return Reply(row.outcome)

    def _handle(self, call: SagaCall, path: str, digest: bytes, action: ActionState | None) -> Reply:
        if (call.step, call.direction) in self._under_way:
            raise unsettled(0.5)
        if path in self.manual:
            return self._begin_manually(call, digest)
        if call.step != CLAIM:
            self._may_fail(call, digest)
        return self._do(call, digest, leaves_effect=action is not ActionState.UNKNOWN)

    def _may_fail(self, call: SagaCall, digest: bytes | None) -> None:
        """`digest` is None where no refusal is recorded."""
        if self.random.random() < self.weather.fails:
            code = self.random.choice([Code.UNAVAILABLE, Code.INTERNAL, Code.RESOURCE_EXHAUSTED])
            asked_s = 35.0 if self.random.random() < self.weather.asks else None
            raise RpcError(code, "it failed", domain=self.name, retry_after_s=asked_s)
        if call.direction is Direction.COMPENSATION:
            return
        if call.kind is StepKind.RETRIABLE:
            if self.random.random() < self.weather.declines:
                declined = {OUTCOME_KEY: DECLINED}
                code = Code.FAILED_PRECONDITION
                raise RpcError(code, "not yet", reason="NOT_YET", domain=self.name, metadata=declined)
        elif call.step in self.weather.refused or self.random.random() < self.weather.refuses:
            assert records_refusal(call)
            if digest is not None:
                row = BarrierRow(call.run, digest, State.REFUSED, b"SOLD_OUT")
                self.rows[call.step, call.direction] = row
            raise refused("SOLD_OUT", "none left", domain=self.name)

    def _do(self, call: SagaCall, digest: bytes, *, leaves_effect: bool = True) -> Reply:
        response = text(f"{call.step} {call.direction}") if call.step != CLAIM else b""
        self.rows[call.step, call.direction] = BarrierRow(call.run, digest, State.DONE, response)
        if call.step != CLAIM and leaves_effect:
            self._note(Deed(call.step, call.run, call.direction))
        return Reply(response)

    def _begin_manually(self, call: SagaCall, digest: bytes) -> Reply:
        """PENDING, and the handler ends later, but not after the attempt's own end; or never, as in a crash."""
        left_s = (call.not_after_ms - self.clock.wall_ms()) / 1000
        row = BarrierRow(call.run, digest, State.PENDING, b"", call.not_after_ms)
        self.rows[call.step, call.direction] = row
        if self.random.random() >= self.weather.fails:
            self._under_way.add((call.step, call.direction))
            loop = asyncio.get_running_loop()
            loop.call_later(self.random.uniform(0, left_s), self._end_manually, call, row)
        raise RpcError(Code.UNAVAILABLE, "it takes longer than you wait")

    def _end_manually(self, call: SagaCall, row: BarrierRow) -> None:
        self._under_way.discard((call.step, call.direction))
        if self.rows.get((call.step, call.direction)) is row:
            self._do(call, row.digest)

    def _note(self, deed: Deed) -> None:
        self.deeds.append(deed)
        self.notice(self.name, deed)

    def settle_by_hand(self, step: str, run: str, *, is_done: bool) -> None:
        """A person saw to it that a step's action has happened, or that it has not and never will."""
        has = self.count(step, run)
        if any(row.run != run for row in self.rows.values()):
            return  # another run owns the saga here: nothing of this one has happened, or will
        if is_done and not has:
            self._note(Deed(step, run, Direction.ACTION, is_by_hand=True))
            self.rows[step, Direction.ACTION] = BarrierRow(run, BY_HAND, State.DONE, b"")
        elif not is_done:
            if (row := self.rows.get((step, Direction.ACTION))) and row.state is State.PENDING:
                del self.rows[step, Direction.ACTION]  # its third party was told to stop
            if has:
                self._note(Deed(step, run, Direction.COMPENSATION, is_by_hand=True))
            self.rows[step, Direction.COMPENSATION] = BarrierRow(run, BY_HAND, State.DONE, b"")

    def count(self, step: str, run: str) -> int:
        """Effects of a step that stand: 0 or 1, if all is well."""
        mine = Counter(deed.direction for deed in self.deeds if deed.step == step and deed.run == run)
        return mine[Direction.ACTION] - mine[Direction.COMPENSATION]


def participants(
    saga: Saga, random: Random, weather: Weather, notice: Callable[[str, Deed], None]
) -> dict[str, Participant]:
    loop = asyncio.get_running_loop()

    def paths(of: Callable[[Method[Any, Any]], bool]) -> frozenset[str]:
        return frozenset(step.action.method.path for step in saga.calls if of(step.action.method))

    manual = paths(lambda method: method.transaction is Transaction.MANUAL)
    reads = paths(lambda method: method.is_read)
    return {
        name: Participant(
            name,
            random,
            weather,
            VirtualClock(loop, random.choice([0.0, 0.0, -3.0])),
            manual,
            reads,
            notice,
        )
        for name in SERVICES
    }


@dataclass(frozen=True)
class Line:
    """A gateway's way to a service; implements Transport."""

    to: Participant
    random: Random
    weather: Weather
    on_send: Callable[[SagaCall], None]
    """Called as a call leaves; it may end the process."""

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        call = SagaCall.from_metadata(metadata)
        assert call is not None
        self.on_send(call)
        answer: asyncio.Future[Reply | RpcError] = asyncio.get_running_loop().create_future()
        for _ in range(1 + self._happens(self.weather.doubles)):
            if not self._happens(self.weather.loses):
                self._later(self._arrive, path, request, metadata, answer)
        try:
            async with asyncio.timeout(timeout_s):
                result = await answer
        except TimeoutError:
            raise RpcError(Code.DEADLINE_EXCEEDED, "no answer in time") from None
        if isinstance(result, RpcError):
            raise result
        return result

    def _arrive(
        self,
        path: str,
        request: bytes,
        metadata: Mapping[str, str],
        answer: "asyncio.Future[Reply | RpcError]",
    ) -> None:
        try:
            result: Reply | RpcError = self.to.deliver(path, request, metadata)
        except RpcError as error:
            result = error
        if not self._happens(self.weather.loses):
            self._later(_settle, answer, result)

    def _happens(self, chance: float) -> bool:
        return self.random.random() < chance

    def _later(self, what: Callable[..., None], *arguments: object) -> None:
        slowest_s = self.weather.slowest_s * (8 if self._happens(self.weather.straggles) else 1)
        asyncio.get_running_loop().call_later(self.random.uniform(0, slowest_s), what, *arguments)


def _settle(answer: "asyncio.Future[Reply | RpcError]", result: Reply | RpcError) -> None:
    if not answer.done():
        answer.set_result(result)
