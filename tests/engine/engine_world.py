"""A world for the engine's tests: sagas, services that keep the barrier's rules, and a clock that never waits."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import count
from random import Random
from typing import Any

import betterproto2
from grpclib.const import Status as Code

from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.port import Acceptance
from sagagen.runtime.log.store import SagaLog, SagaRef
from sagagen.runtime.model.definition import Action, Direction, Method, Respond, Retry, Saga, Step, StepKind
from sagagen.runtime.rpc.errors import RpcError, refused
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.rpc.transport import Reply, Transport
from sagagen.runtime.saga.events import LogEvent, SagaStatus
from sagagen.runtime.scope import CompensationScope, Scope
from sagagen.runtime.service.barrier.rules import BarrierRow as BarrierRow
from sagagen.runtime.service.barrier.rules import RecordEmpty, Replay, RunHandler, State, TurnDown, rule

TRACE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
SEEDS = count(1)
"""Every engine draws other runs and waits."""

SAGA_ID = "5c0e2f9e-0000-5000-8000-000000000001"


@dataclass(eq=False, repr=False)
class Text(betterproto2.Message):
    """The one message of these sagas."""

    value: str = betterproto2.field(1, betterproto2.TYPE_STRING)


def text(value: str) -> bytes:
    return bytes(Text(value=value))


def method(name: str, *, is_read: bool = False) -> Method[Text, Text]:
    return Method(
        path=f"/test.v1.TestService/{name}",
        request=Text,
        response=Text,
        handler=name,
        request_name="test.v1.Text",
        response_name="test.v1.Text",
        is_read=is_read,
    )


RETRY = Retry(initial_s=0.05, multiplier=2.0, max_s=2.0)
BUDGETED = replace(RETRY, max_s=30.0, give_up_after_s=3600.0)


def repeat_input(scope: Scope[Text]) -> Text:
    return Text(value=scope.input.value)


def action(
    name: str,
    request: Callable[[Any], Text] = repeat_input,
    *,
    is_read: bool = False,
    retry: Retry = RETRY,
    service: str = "one",
) -> Action:
    return Action(
        service=service, method=method(name, is_read=is_read), request=request, timeout_s=2.0, retry=retry
    )


def step(
    name: str,
    kind: StepKind = StepKind.COMPENSATABLE,
    *,
    is_compensated: bool = True,
    is_read: bool = False,
    retry: Retry | None = None,
    request: Callable[[Scope[Text]], Text] = repeat_input,
    service: str = "one",
) -> Step:
    def undo(scope: CompensationScope[Text]) -> Text:
        return Text(value=f"{scope.failure.step}:{scope.failure.reason}")

    compensated = is_compensated and kind is StepKind.COMPENSATABLE and not is_read
    chosen = retry or (BUDGETED if kind is StepKind.RETRIABLE else RETRY)
    return Step(
        name=name,
        kind=kind,
        action=action(name, request, is_read=is_read, retry=chosen, service=service),
        compensation=action(f"undo_{name}", undo, retry=BUDGETED, service=service) if compensated else None,
    )


def saga(*steps: Step, respond_after: str = "completion", deadline_s: float = 60.0, version: int = 1) -> Saga:
    def body(scope: Scope[Text]) -> Text:
        return Text(value=f"answer to {scope.input.value}")

    return Saga(
        name="place",
        version=version,
        digest="d1",
        trigger=method("Trigger"),
        key="required",
        on_concurrent="conflict",
        retention_s=86400.0,
        deadline_s=deadline_s,
        respond=Respond(after=respond_after, status=201, wait_s=10.0, body=body),
        steps=steps,
    )


def usual_saga(**options: object) -> Saga:
    """Two compensatable steps, a pivot and a retriable one."""
    return saga(
        step("one"),
        step("two"),
        step("pivot", StepKind.PIVOT),
        step("after", StepKind.RETRIABLE),
        **options,  # pyright: ignore[reportArgumentType]
    )


@dataclass
class TestClock:
    """Moves only when a test, or a sleep of the engine, moves it."""

    __test__ = False

    wall: int = 1_700_000_000_000
    monotonic: float = 1000.0

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_s(self) -> float:
        return self.monotonic

    def advance(self, seconds: float) -> None:
        self.wall += round(seconds * 1000)
        self.monotonic += seconds

    async def sleep(self, seconds: float, wake: asyncio.Event) -> None:
        if not wake.is_set():
            self.advance(seconds)
            await asyncio.sleep(0)


class PatientClock(TestClock):
    """Its sleeps end only when the saga is woken."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = asyncio.Event()

    async def sleep(self, seconds: float, wake: asyncio.Event) -> None:
        self.waits.set()
        await wake.wait()


@dataclass(frozen=True)
class Effect:
    """Something that a service did, once."""

    saga_id: str
    step: str
    direction: Direction


@dataclass
class World:
    """Services that keep the barrier's rules, whose faults a test chooses.

    `faults` has, for each call, what happens to its deliveries one after the other: `lost` (it takes effect, the answer
    does not arrive), `down` (it does not arrive) or an RpcError that the handler answers; after them all goes well.
    `declines` names steps whose handler says no.
    """

    clock: TestClock
    faults: Mapping[tuple[str, Direction], list[str | RpcError]] = field(
        default_factory=dict[tuple[str, Direction], list[str | RpcError]]
    )
    declines: frozenset[str] = frozenset()
    barrier: dict[str, dict[tuple[str, Direction], BarrierRow]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    effects: list[Effect] = field(default_factory=list)
    calls: list[tuple[SagaCall, bytes, float]] = field(default_factory=list)
    metadata: list[Mapping[str, str]] = field(default_factory=list)
    deliveries: dict[tuple[str, Direction], int] = field(default_factory=lambda: defaultdict(int))
    responses: dict[tuple[str, Direction], bytes] = field(default_factory=dict)

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        call = SagaCall.from_metadata(metadata)
        assert call is not None
        self.calls.append((call, request, timeout_s))
        self.metadata.append(metadata)
        key = (call.step, call.direction)
        faults = self.faults.get(key, [])
        fault = faults[self.deliveries[key]] if self.deliveries[key] < len(faults) else ""
        self.deliveries[key] += 1
        await asyncio.sleep(0)
        if fault == "down":
            raise RpcError(Code.UNAVAILABLE, "no connection")
        reply = self.deliver(call, path, request, fault)
        if fault == "lost":
            raise RpcError(Code.UNAVAILABLE, "connection lost")
        return reply

    def deliver(self, call: SagaCall, path: str, request: bytes, fault: str | RpcError = "") -> Reply:
        rows = self.barrier[call.saga_id]
        digest = sha256(path.encode() + request).digest()
        match rule(call, digest, rows, 0, self.clock.wall_ms()):
            case TurnDown(error):
                raise error
            case Replay(row):
                return self._replay(row)
            case RecordEmpty():
                rows[call.step, call.direction] = BarrierRow(call.run, digest, State.EMPTY, b"")
                return Reply(b"")
            case RunHandler():
                return self._handle(call, digest, fault)

    def _replay(self, row: BarrierRow) -> Reply:
        if row.state is State.REFUSED:
            raise refused(row.outcome.decode(), "again", domain="one")
        return Reply(row.outcome)

    def _handle(self, call: SagaCall, digest: bytes, fault: str | RpcError) -> Reply:
        rows, key = self.barrier[call.saga_id], (call.step, call.direction)
        if isinstance(fault, RpcError):
            raise fault
        if call.direction is Direction.ACTION and call.step in self.declines:
            if call.kind is StepKind.RETRIABLE:
                raise RpcError(Code.FAILED_PRECONDITION, "not yet", reason="NOT_YET", domain="one")
            rows[key] = BarrierRow(call.run, digest, State.REFUSED, b"SOLD_OUT")
            raise refused("SOLD_OUT", "none left", domain="one")
        self.effects.append(Effect(call.saga_id, call.step, call.direction))
        response = self.responses.get(key, text(f"{call.step} {call.direction.value}"))
        rows[key] = BarrierRow(call.run, digest, State.DONE, response)
        return Reply(response)

    def done(self, direction: Direction, saga_id: str = SAGA_ID) -> list[str]:
        """Steps whose action or compensation took effect, in order."""
        return [e.step for e in self.effects if e.direction is direction and e.saga_id == saga_id]


def acceptance(definition: Saga, saga_id: str = SAGA_ID, value: str = "x") -> Acceptance:
    return Acceptance(
        saga=definition,
        saga_id=saga_id,
        caller="anonymous",
        key="key-1",
        fingerprint=sha256(value.encode()).digest(),
        input=text(value),
        trace=TRACE,
    )


@dataclass(frozen=True)
class TimedJournal:
    """A log whose waits are the test clock's."""

    log: SagaLog
    clock: TestClock

    async def append(self, ref: SagaRef, rows: Sequence[LogEvent], status: SagaStatus | None) -> None:
        await self.log.append(ref, rows, status)

    async def append_later(self, ref: SagaRef, rows: Sequence[LogEvent]) -> None:
        await self.log.append_later(ref, rows)

    async def rest(self, seconds: float, wake: asyncio.Event) -> None:
        await self.clock.sleep(seconds, wake)


def engine(
    definition: Saga,
    log: Any,
    world: Transport | Mapping[str, Transport],
    clock: TestClock,
    **options: object,
) -> EmbeddedEngine:
    """An engine whose service `one` is `world` (or whose services they are), and which never waits for real."""
    return EmbeddedEngine(
        sagas=[definition],
        log=log,
        journal=TimedJournal(log, clock),
        transports=world if isinstance(world, Mapping) else {"one": world},
        clock=clock,
        random=Random(next(SEEDS)),
        **options,  # pyright: ignore[reportArgumentType]
    )
