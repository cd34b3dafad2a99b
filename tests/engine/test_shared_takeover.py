"""What one gateway leaves to another: sagas that it died of, calls that hang, its time, and very many sagas."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from shared_gateways import LONG_S, Gateway, Slow, end_life, gateway
from shared_log import log_url
from small_mesh import SAGA_ID, ManualClock, acceptance, usual_saga
from thorough import TRIES_ALL
from waiting import eventually_async

from sagagen.runtime.clock import SystemClock
from sagagen.runtime.engine.pace import AT_MOST_S, AT_ONCE, NAP_S, Pace
from sagagen.runtime.engine.port import Halted, SagaQuery
from sagagen.runtime.postgres.connection import connect
from sagagen.runtime.postgres_log.server_time import ServerTime
from sagagen.runtime.saga.events import Failed, Resumed, SagaStatus, Stuck

MANY = 2000 if TRIES_ALL else 120


@pytest.fixture
def slow() -> Slow:
    return Slow(ManualClock())


@dataclass
class Skewed(SystemClock):
    """The clock of a machine that nobody has set."""

    by_ms: int

    def wall_ms(self) -> int:
        return super().wall_ms() + self.by_ms


async def test_a_saga_that_kills_gateway_after_gateway_is_set_aside(tmp_path: Path, slow: Slow) -> None:
    """Four gateways, of which three die with the same call under way. Whatever else they drove goes on."""
    usual = usual_saga()
    calls = (replace(step, action=replace(step.action, timeout_s=LONG_S)) for step in usual.calls)
    definition = replace(usual, steps=tuple(calls))  # nobody gives a call up that is on trial
    async with AsyncExitStack() as stack:
        stack.callback(slow.go.set)
        gateways: list[Gateway] = []
        for number in range(4):
            one = await stack.enter_async_context(gateway(tmp_path, definition, slow))
            if not gateways:
                await one.engine.accept(acceptance(definition, "bad"))
                await one.engine.accept(acceptance(definition, "good"))
            else:
                gateways[-1].freeze()
                await end_life(tmp_path, gateways[-1])
                # Its row is on disk: what it writes later would renew its lease.
                await eventually_async("it takes over", partial(_has_gone_on, one, number))
                counts = await one.log.counted_deaths(["bad", "good"])
                assert {saga_id: deaths for saga_id, (deaths, _) in counts.items()} == (
                    {"bad": 3, "good": 2} if number == 3 else {"bad": number, "good": number}
                )
            gateways.append(one)
        last = gateways[-1]
        assert await last.ends("bad") is SagaStatus.STUCK
        stuck = [row for row in (await last.saga("bad")).rows if isinstance(row, Stuck)]
        assert [row.failure.reason for row in stuck] == ["PROCESS_DIED"]
        slow.go.set()
        assert await last.ends("good") is SagaStatus.COMPLETED


async def _has_gone_on(one: Gateway, times: int) -> bool:
    rows = (await one.saga("bad")).rows
    return len([row for row in rows if isinstance(row, Resumed)]) == times


async def test_a_gateway_that_is_stopped_leaves_a_call_that_hangs_to_another(
    tmp_path: Path, slow: Slow
) -> None:
    """Its grace would be a minute."""
    definition = usual_saga()
    async with gateway(tmp_path, definition, slow) as other:
        async with asyncio.timeout(LONG_S / 2):
            async with gateway(tmp_path, definition, slow, grace_s=LONG_S) as one:
                await one.engine.accept(acceptance(definition))
                await slow.reached.wait()
            slow.go.set()
            assert await other.ends() is SagaStatus.COMPLETED
        rows = (await other.saga()).rows
        assert [type(row).__name__ for row in rows].count("Resumed") == 1
        assert await other.log.counted_deaths(["saga-1"]) == {}, "it was stopped, and did not die"
    assert len(slow.effects) == len(set(slow.effects)) == 4


async def test_a_gateway_that_is_stopped_waits_for_calls_that_come_back(tmp_path: Path, slow: Slow) -> None:
    definition = usual_saga()
    async with gateway(tmp_path, definition, slow, grace_s=LONG_S) as one:
        await one.engine.accept(acceptance(definition))
        await slow.reached.wait()
        asyncio.get_running_loop().call_later(0.1, slow.go.set)
    async with gateway(tmp_path, definition, slow) as other:
        assert await other.ends() is SagaStatus.COMPLETED
        rows = (await other.saga()).rows
        assert not [row for row in rows if isinstance(row, Failed)]
        assert len([row for row in rows if isinstance(row, Resumed)]) == 1
    assert len(slow.effects) == len(set(slow.effects)) == 4


async def test_rows_have_the_servers_time_whatever_a_gateways_own_clock_says(
    tmp_path: Path, slow: Slow
) -> None:
    """Two clocks that are ten seconds apart. By their own, the second half of the saga would be before the first."""
    definition = usual_saga()
    true = SystemClock()
    async with gateway(tmp_path, definition, slow, clock=Skewed(-5_000)) as other:
        before_ms = true.wall_ms()
        async with gateway(tmp_path, definition, slow, clock=Skewed(5_000), grace_s=0.0) as one:
            await one.engine.accept(acceptance(definition))
            await slow.reached.wait()
        slow.go.set()
        assert await other.ends() is SagaStatus.COMPLETED
        times = [row.at_ms for row in (await other.saga()).rows]
        assert times == sorted(times)
        assert before_ms - 1_000 < times[0]
        assert times[-1] < true.wall_ms() + 1_000


@dataclass
class Told(SystemClock):
    s: float = 100.0
    ms: int = 5_000

    def wall_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.s


def test_the_servers_time_is_learnt_from_quick_answers_and_from_those_that_prove_it_wrong() -> None:
    clock = Told()
    server = ServerTime(clock)
    assert server.wall_ms() == 5_000

    def ask(took_s: float, says_ms: int) -> int:
        with server.asking() as told:
            clock.s += took_s
            told(says_ms)
        return server.wall_ms()

    assert ask(0.2, 50_000) == 50_100
    clock.s += 1.0
    assert server.wall_ms() == 51_100
    assert ask(0.02, 51_070) == 51_080, "a quicker answer is more certain"
    assert ask(0.5, 51_500) == 51_580, "a slow one is not, and it agrees"
    assert ask(0.5, 60_000) == 60_250, "nor is this one, but the server's clock was set"
    clock.ms = 0
    assert server.wall_ms() == 60_250, "this machine's own is not asked"


async def test_sagas_are_taken_up_while_the_loop_is_quick() -> None:
    naps = iter([0.4, 0.3, NAP_S, NAP_S, *[AT_MOST_S / 2] * 9])
    taken: list[float] = []

    async def nap() -> float:
        taken.append(next(naps))
        return taken[-1]

    pace = Pace(nap)
    seen: list[int] = []
    for _ in range(3):
        for _ in range(AT_ONCE):
            await pace.step()
        seen.append(len(taken))
    assert seen == [3, 4, 6], "it waits until it is quick, and a second at most"


async def test_very_many_sagas_are_taken_over_and_the_lease_is_kept(tmp_path: Path, slow: Slow) -> None:
    definition = usual_saga()
    async with gateway(tmp_path, definition, slow, lease_s=6.0) as other:
        life = other.log.life
        async with gateway(tmp_path, definition, slow, grace_s=0.0) as one:
            asked = [acceptance(definition, f"saga-{number}") for number in range(MANY)]
            await asyncio.gather(*(one.engine.accept(each) for each in asked))
            assert one.engine.running == MANY
        slow.go.set()

        async def none_is_active() -> bool:
            return not await other.engine.open_counts()

        await eventually_async("all end", none_is_active)
        assert other.log.life == life
        found = await other.log.search(SagaQuery(statuses=(SagaStatus.COMPLETED,), limit=200))
        assert len(found) == min(200, MANY)
    assert len(slow.effects) == len(set(slow.effects)) == 4 * MANY


async def test_what_nobody_drives_is_told_of_and_what_can_not_be_read_is_named(
    tmp_path: Path, slow: Slow
) -> None:
    definition = usual_saga()
    async with AsyncExitStack() as stack:
        stack.callback(slow.go.set)
        one = await stack.enter_async_context(gateway(tmp_path, definition, slow))
        other = await stack.enter_async_context(gateway(tmp_path, definition, slow))
        await one.engine.accept(acceptance(definition))
        await slow.reached.wait()
        connection = await connect(log_url(tmp_path), "test")
        stack.callback(connection.terminate)
        await connection.execute("UPDATE sagagen_engine.saga SET updated_ms = updated_ms - 60000")
        assert await one.engine.halted() == Halted({}), "it drives it"
        assert await other.engine.halted() == Halted({}), "another one does"
        for each in (one, other):
            each.freeze()
        await end_life(tmp_path, one)
        assert await other.engine.halted() == Halted({"place": 1})
        await connection.execute("UPDATE sagagen_engine.batch SET rows = '\\x00'")
        assert await other.engine.halted() == Halted({}, (("place", SAGA_ID),))
