"""The engine's time follows a corrected clock, and no budget jumps by it."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from engine_world import World, engine
from hypothesis import given
from hypothesis import strategies as st
from small_mesh import ManualClock, usual_saga

from sagagen.runtime.engine.time import FASTEST, FOLLOW_S, JUMP_S, SLOWEST, STANDS_S, TOLD_S, SagaTime
from sagagen.runtime.health import Readiness
from sagagen.runtime.log.store import SagaLog

HOUR_S = 3600.0


def pass_by(clock: ManualClock, time: SagaTime, seconds: float, *, is_idle: bool) -> None:
    """Let time pass as an engine does: it looks every FOLLOW_S."""
    for _ in range(round(seconds / FOLLOW_S)):
        clock.advance(FOLLOW_S)
        time.follow(is_idle=is_idle)


def off_s(clock: ManualClock, time: SagaTime) -> float:
    return (time.now_ms() - clock.ms) / 1000


@pytest.mark.parametrize("jump_s", [HOUR_S, 365 * 24 * HOUR_S])
def test_a_clock_that_was_behind_is_followed_at_once_when_no_saga_is_under_way(jump_s: float) -> None:
    clock = ManualClock()
    time = SagaTime(clock, 0)
    clock.ms += round(jump_s * 1000)
    pass_by(clock, time, STANDS_S / 2, is_idle=True)
    assert off_s(clock, time) == pytest.approx(-jump_s, abs=1), "it may be taken back"
    pass_by(clock, time, STANDS_S / 2 + 2, is_idle=True)
    assert abs(off_s(clock, time)) < 0.1


def test_with_sagas_under_way_it_is_followed_by_a_tenth() -> None:
    clock = ManualClock()
    time = SagaTime(clock, 0)
    clock.ms += 60_000
    pass_by(clock, time, STANDS_S + 300, is_idle=False)
    assert off_s(clock, time) == pytest.approx(-60 + 30, abs=1)
    pass_by(clock, time, 320, is_idle=False)
    assert abs(off_s(clock, time)) < 0.1


@pytest.mark.parametrize("is_idle", [True, False])
def test_a_clock_that_was_ahead_is_waited_for_at_half_speed(is_idle: bool) -> None:
    clock = ManualClock()
    time = SagaTime(clock, 0)
    clock.ms -= 60_000
    pass_by(clock, time, STANDS_S + 60, is_idle=is_idle)
    assert off_s(clock, time) == pytest.approx(60 - 30, abs=1)
    pass_by(clock, time, 90, is_idle=is_idle)
    assert abs(off_s(clock, time)) < 0.1


def test_a_log_whose_last_row_is_ahead_is_caught_up_with() -> None:
    clock = ManualClock()
    time = SagaTime(clock, clock.ms + 10_000)
    assert time.now_ms() == clock.ms + 10_000
    assert time.problem() == "", "that is no jump of the clock"
    pass_by(clock, time, 25, is_idle=True)
    assert abs(off_s(clock, time)) < 0.1


def test_a_jump_is_told_of_until_it_is_taken_back_and_not_for_long() -> None:
    clock = ManualClock()
    time = SagaTime(clock, 0)
    assert time.problem() == ""
    clock.ms += 3_600_000
    assert time.problem().startswith("the clock jumped by +3600 s")
    clock.ms -= 3_600_000
    assert time.problem() == ""
    clock.ms -= 600_000
    assert time.problem().startswith("the clock jumped by -600 s")
    pass_by(clock, time, TOLD_S - 2, is_idle=True)
    assert time.problem() != ""
    pass_by(clock, time, 2, is_idle=True)
    assert time.problem() == ""


def test_a_moment_ahead_moves_the_engines_time_hardly() -> None:
    clock = ManualClock()
    time = SagaTime(clock, 0)
    clock.ms += round(40 * 24 * HOUR_S * 1000)
    pass_by(clock, time, 60, is_idle=True)
    clock.ms -= round(40 * 24 * HOUR_S * 1000)
    pass_by(clock, time, 5, is_idle=True)
    assert abs(off_s(clock, time)) < JUMP_S


@dataclass(frozen=True)
class Passed:
    seconds: float
    jump_s: float
    is_idle: bool


async def test_readiness_says_that_the_clock_jumped(tmp_path: Path) -> None:
    clock = ManualClock()
    async with (
        SagaLog.open(tmp_path / "log.db") as log,
        engine(usual_saga(), log, World(clock), clock) as running,
    ):
        readiness = Readiness({"gateway": running.check})
        assert await readiness.problems() == []
        clock.ms += 3_600_000
        (problem,) = await readiness.problems()
        assert problem.startswith("gateway: the clock jumped by +3600 s")
        clock.advance(STANDS_S)
        assert await readiness.problems() == []


passed = st.builds(
    Passed, st.floats(0, 300), st.sampled_from([0, 0, 0, 1, -1, 7, -7, 9999, -9999]), st.booleans()
)


@given(st.lists(passed, max_size=60))
def test_it_never_goes_back_and_no_budget_gains_or_loses_more_than_it_may(story: list[Passed]) -> None:
    clock = ManualClock()
    time = SagaTime(clock, 0)
    for each in story:
        before_ms, before_s = time.now_ms(), clock.monotonic
        clock.advance(each.seconds)
        now_ms = time.now_ms()
        took_s = clock.monotonic - before_s
        assert now_ms >= before_ms
        assert SLOWEST * took_s - 0.002 <= (now_ms - before_ms) / 1000 <= FASTEST * took_s + 0.002
        clock.ms += round(each.jump_s * 1000)
        time.follow(is_idle=each.is_idle)
        assert time.now_ms() >= now_ms
        if not each.is_idle:
            assert time.now_ms() <= now_ms + 1
