"""The log in bad days: sagas that expire, a file that is damaged, a disk that is full."""

import asyncio
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_mesh import ManualClock, usual_saga
from structlog.testing import capture_logs
from test_saga_log_file import EVERY_KIND, FAILURE, accepted
from waiting import LIMIT_S, eventually_async

from sagagen.runtime.log.damage import damage_of
from sagagen.runtime.log.reserve import Reserve
from sagagen.runtime.log.store import LogCorrupted, SagaLog
from sagagen.runtime.log.upkeep import SETTLED_S, SLACK_S, UNKNOWN_RETENTION_S, PurgeTime, one_round, upkeep
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.saga.events import Ended, SagaStatus, Stuck

FOLDER = Path(__file__).parent


async def end(log: SagaLog, saga_id: str, status: SagaStatus, at_ms: int, name: str = "place") -> None:
    ref = await log.accept(replace(accepted(saga_id), saga=name))
    assert ref
    row = (
        Stuck(at_ms=at_ms, direction=Direction.ACTION, failure=FAILURE)
        if status is SagaStatus.STUCK
        else Ended(at_ms=at_ms, status=status)
    )
    await log.append(ref, [EVERY_KIND[0], row], status)


async def test_sagas_are_purged_after_their_retention_and_only_if_they_ended(tmp_path: Path) -> None:
    clock, definition = ManualClock(), usual_saga()
    expired_ms = clock.ms - round((definition.retention_s + SLACK_S) * 1000) - 1
    async with SagaLog.open(tmp_path / "log.db") as log:
        for n in range(250):
            await end(log, f"old {n}", SagaStatus.COMPLETED, expired_ms)
        await end(log, "undone", SagaStatus.COMPENSATED, expired_ms)
        await end(log, "young", SagaStatus.COMPLETED, expired_ms + 1000)
        await end(log, "stuck", SagaStatus.STUCK, expired_ms)
        await end(log, "unknown", SagaStatus.COMPLETED, expired_ms, name="no longer in the code")
        await log.accept(replace(accepted("running"), at_ms=clock.ms))
        now = PurgeTime(clock)
        assert await one_round(log, [definition], now) == 251
        kept = ["young", "stuck", "unknown", "running"]
        assert [await log.head(name) is not None for name in kept] == [True] * 4
        assert await log.find("old 0") is None
        clock.advance(UNKNOWN_RETENTION_S)
        await log.accept(replace(accepted("later"), at_ms=clock.ms))
        assert await one_round(log, [definition], now) == 0, "its stamp is not believed yet"
        clock.advance(SETTLED_S)
        assert await one_round(log, [definition], now) == 2
        assert await log.accept(accepted("old 0")), "the key is new again"


async def test_upkeep_runs_beside_the_engine_and_ends_with_it(tmp_path: Path) -> None:
    clock = ManualClock()
    async with SagaLog.open(tmp_path / "log.db") as log:
        await end(log, "old", SagaStatus.COMPLETED, 5)
        await log.accept(replace(accepted("running"), at_ms=clock.ms))
        async with upkeep(log, [usual_saga()], clock=clock):
            commits = log.commits
            while log.commits == commits:
                await log.head("old")
        assert await log.head("old") is None


@pytest.mark.parametrize("ahead_s", [3600.0, 40 * 86400.0, 1e9])
@pytest.mark.parametrize("writes", [False, True], ids=["idle", "at work"])
async def test_a_clock_that_is_ahead_for_a_moment_purges_nothing(
    tmp_path: Path, ahead_s: float, writes: bool
) -> None:
    clock, definition = ManualClock(), usual_saga()
    async with SagaLog.open(tmp_path / "log.db") as log:
        await end(log, "today", SagaStatus.COMPLETED, clock.ms)
        now = PurgeTime(clock)
        assert await one_round(log, [definition], now) == 0
        right_ms = clock.ms
        clock.ms += round(ahead_s * 1000)
        for _ in range(10):
            if writes:
                await log.accept(replace(accepted(f"ahead {clock.monotonic}"), at_ms=clock.ms))
            assert await one_round(log, [definition], now) == 0
            clock.advance(60)
        clock.ms = right_ms + 600_000
        assert await one_round(log, [definition], now) == 0
        assert await log.head("today")


async def test_a_disk_that_fills_during_a_pause_is_looked_at_again_at_once(tmp_path: Path) -> None:
    """The pause was chosen before it began: new sagas were refused for up to a minute after there was room."""
    async with SagaLog.open(tmp_path / "log.db") as log, upkeep(log, [usual_saga()], every_s=LIMIT_S):
        await asyncio.sleep(0.05)  # it is in its pause
        log._reserve.is_spent = True  # pyright: ignore[reportPrivateUsage] - what a full disk leaves behind
        assert log.is_disk_full
        async with asyncio.timeout(LIMIT_S / 2):
            await eventually_async("room", lambda: not log.is_disk_full)


def damaged(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "no database":
        content = bytearray(b"It was a log once. " * 500)
    elif how == "cut short":
        del content[len(content) // 2 :]
    else:
        middle = len(content) // 2
        content[middle : middle + 8192] = os.urandom(8192)
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["no database", "cut short", "overwritten"])
async def test_a_damaged_log_is_named_and_kept_as_it_is(tmp_path: Path, how: str) -> None:
    path = tmp_path / "log.db"
    async with SagaLog.open(path) as log:
        for n in range(100):
            await log.accept(accepted(f"saga {n}"))
    damaged(path, how)
    before = path.read_bytes()
    with pytest.raises(LogCorrupted, match=r"log\.db is damaged .* is kept"):
        async with SagaLog.open(path):
            pass
    assert path.read_bytes() == before


async def test_a_log_too_big_to_be_read_in_time_is_checked_in_part(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with SagaLog.open(path) as log:
        await asyncio.gather(*(log.accept(accepted(f"saga {n}")) for n in range(3000)))
    with capture_logs() as lines:
        assert damage_of(path) == ""
        assert not lines
        assert damage_of(path, within_s=-1.0) == ""
    assert [line["event"] for line in lines] == [
        "the saga log is big: it was checked for damage only in part"
    ]


def test_the_reserve_is_made_once_and_anew_where_it_is_not_whole(tmp_path: Path) -> None:
    file, reserve = tmp_path / "log.db.reserve", Reserve(tmp_path / "log.db", size_bytes=1_000_000)
    assert reserve.make()
    assert file.stat().st_size == 1_000_000
    made_ns = file.stat().st_mtime_ns
    assert reserve.make()
    assert file.stat().st_mtime_ns == made_ns, "one that is whole is left alone"
    file.write_bytes(b"cut short")
    assert reserve.make()
    assert file.stat().st_size == 1_000_000


def test_a_disk_that_is_not_full_keeps_the_reserve(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "log.db", size_bytes=1_000_000)
    assert reserve.make()
    assert not reserve.release()
    assert (tmp_path / "log.db.reserve").exists()
    assert not reserve.is_spent


def test_a_full_disk_stops_new_sagas_and_no_others(tmp_path: Path) -> None:
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    probe = [*namespace, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    command = [*namespace, sys.executable, str(FOLDER / "full_disk_life.py"), str(tmp_path)]
    paths = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    life = subprocess.run(command, env=paths, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert life.stdout.endswith("fine\n"), life.stdout + life.stderr
