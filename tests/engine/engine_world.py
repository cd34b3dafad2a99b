"""A world for the engine's tests: services that keep the barrier's rules, and an engine that never waits for real."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from random import Random
from typing import Any

from grpclib.const import Status as Code
from small_mesh import SAGA_ID, ManualClock, text

from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.log_port import EngineLog, SharedLog
from sagagen.runtime.engine.shared import SharedEngine
from sagagen.runtime.model.definition import Direction, Saga, StepKind
from sagagen.runtime.rpc.errors import DECLINED, OUTCOME_KEY, RpcError, refused
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.transport import Reply, Transport
from sagagen.runtime.saga.events import LogEvent, SagaStatus
from sagagen.runtime.saga.journal import UNCHANGED
from sagagen.runtime.saga.logged import SagaRef
from sagagen.runtime.service.barrier.rules import BarrierRow as BarrierRow
from sagagen.runtime.service.barrier.rules import (
    RecordEmpty,
    Replay,
    RunHandler,
    State,
    StepRows,
    TurnDown,
    rule,
)

SEEDS = count(1)
"""Every engine draws other runs and waits."""


class PatientClock(ManualClock):
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

    clock: ManualClock
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
        match rule(call, digest, self._rows_of(call), 0, self.clock.wall_ms()):
            case TurnDown(error):
                raise error
            case Replay(row):
                return self._replay(row)
            case RecordEmpty():
                rows[call.step, call.direction] = BarrierRow(call.run, digest, State.EMPTY, b"")
                return Reply(b"")
            case RunHandler():
                return self._handle(call, digest, fault)

    def _rows_of(self, call: SagaCall) -> StepRows:
        rows = self.barrier[call.saga_id]
        owner = next((row.run for row in rows.values()), None)
        action, compensation = ((call.step, direction) for direction in Direction)
        return StepRows(owner, rows.get(action), rows.get(compensation))

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
                raise RpcError(
                    Code.FAILED_PRECONDITION,
                    "not yet",
                    reason="NOT_YET",
                    domain="one",
                    metadata={OUTCOME_KEY: DECLINED},
                )
            rows[key] = BarrierRow(call.run, digest, State.REFUSED, b"SOLD_OUT")
            raise refused("SOLD_OUT", "none left", domain="one")
        self.effects.append(Effect(call.saga_id, call.step, call.direction))
        response = self.responses.get(key, text(f"{call.step} {call.direction.value}"))
        rows[key] = BarrierRow(call.run, digest, State.DONE, response)
        return Reply(response)

    def done(self, direction: Direction, saga_id: str = SAGA_ID) -> list[str]:
        """Steps whose action or compensation took effect, in order."""
        return [e.step for e in self.effects if e.direction is direction and e.saga_id == saga_id]


@dataclass(frozen=True)
class TimedJournal:
    """A log whose waits are the test clock's."""

    log: EngineLog
    clock: ManualClock

    async def append(
        self,
        ref: SagaRef,
        rows: Sequence[LogEvent],
        status: SagaStatus | None,
        wake_ms: int | None = UNCHANGED,
        at_steps: str = "",
    ) -> None:
        await self.log.append(ref, rows, status, wake_ms, at_steps)

    async def append_later(self, ref: SagaRef, rows: Sequence[LogEvent]) -> None:
        await self.log.append_later(ref, rows)

    async def rest(self, seconds: float, wake: asyncio.Event) -> None:
        await self.clock.sleep(seconds, wake)


def engine(
    definition: Saga,
    log: Any,
    world: Transport | Mapping[str, Transport],
    clock: ManualClock,
    **options: object,
) -> EmbeddedEngine:
    """An engine whose service `one` is `world` (or whose services they are), and which never waits for real."""
    return EmbeddedEngine(**_options(definition, log, world, clock), **options)  # pyright: ignore[reportArgumentType]


def shared_engine(
    definition: Saga, log: SharedLog, world: Transport, clock: ManualClock, **options: object
) -> SharedEngine:
    """The same on a log that it shares."""
    return SharedEngine(**_options(definition, log, world, clock), **options)  # pyright: ignore[reportArgumentType]


def _options(
    definition: Saga, log: Any, world: Transport | Mapping[str, Transport], clock: ManualClock
) -> dict[str, Any]:
    return {
        "sagas": [definition],
        "log": log,
        "journal": TimedJournal(log, clock),
        "transports": world if isinstance(world, Mapping) else {"one": world},
        "clock": clock,
        "random": Random(next(SEEDS)),
    }
