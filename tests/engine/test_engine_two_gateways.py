"""Two gateways that share no log both accept one key: two runs of one saga, and one set of effects."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from crashing_log import CrashingLog
from engine_world import Effect, World, engine
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mesh import SAGA_ID, ManualClock, acceptance, saga, step
from thorough import FUZZ_ROUNDS

from sagagen.runtime.model.definition import Direction, StepKind
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.saga.events import SagaStatus

STEPS = (
    step("one", service="orders"),
    step("two", service="stock"),
    step("three", service="orders"),
    step("pivot", StepKind.PIVOT, service="payments"),
    step("after", StepKind.RETRIABLE, service="stock"),
)
COMPENSATABLE = ["one", "two", "three"]


@dataclass
class Slow(World):
    """Takes as many turns of the event loop as it is told, before and after each delivery."""

    delays: tuple[int, ...] = (0,)
    turn: int = 0

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        await self._dawdle()
        try:
            return await super().call(path, request, metadata=metadata, timeout_s=timeout_s)
        finally:
            await self._dawdle()

    async def _dawdle(self) -> None:
        self.turn += 1
        for _ in range(self.delays[self.turn % len(self.delays)]):
            await asyncio.sleep(0)


@dataclass(frozen=True)
class Race:
    delays: tuple[int, ...]
    faults: dict[tuple[str, Direction], list[str | RpcError]]
    declines: frozenset[str]
    head_start: int


FAULTS: st.SearchStrategy[list[str | RpcError]] = st.lists(st.sampled_from(["lost", "down"]), max_size=6)


@st.composite
def races(draw: st.DrawFn) -> Race:
    keys = [(each.name, direction) for each in STEPS for direction in Direction]
    return Race(
        delays=tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=9))),
        faults={key: draw(FAULTS) for key in keys},
        declines=frozenset(draw(st.sets(st.sampled_from([*COMPENSATABLE, "pivot"]), max_size=1))),
        head_start=draw(st.integers(0, 30)),
    )


async def tell(race: Race) -> tuple[list[SagaStatus], list[Effect]]:
    clock = ManualClock()
    effects: list[Effect] = []
    definition = saga(*STEPS, deadline_s=20.0)
    services = {
        name: Slow(clock, race.faults, race.declines, effects=effects, delays=race.delays)
        for name in ("orders", "stock", "payments")
    }
    logs = CrashingLog(), CrashingLog()
    async with (
        engine(definition, logs[0], services, clock) as first,
        engine(definition, logs[1], services, clock) as second,
    ):
        await first.accept(acceptance(definition))
        for _ in range(race.head_start):
            await asyncio.sleep(0)
        await second.accept(acceptance(definition))
        await first.wait_until_idle()
        await second.wait_until_idle()
    return [log.history(SAGA_ID).status for log in logs], effects


@settings(max_examples=40 * FUZZ_ROUNDS)
@given(races())
def test_two_runs_have_one_set_of_effects(race: Race) -> None:
    statuses, effects = asyncio.run(tell(race))
    done = [effect.step for effect in effects if effect.direction is Direction.ACTION]
    undone = [effect.step for effect in effects if effect.direction is Direction.COMPENSATION]
    assert len(set(effects)) == len(effects)
    assert SagaStatus.SUPERSEDED in statuses, statuses
    assert SagaStatus.STUCK not in statuses
    if SagaStatus.COMPLETED in statuses:
        assert (done, undone) == ([each.name for each in STEPS], [])
    else:
        assert undone == done[::-1]
        assert set(done) <= set(COMPENSATABLE)
