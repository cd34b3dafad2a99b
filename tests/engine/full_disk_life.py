"""A log on a disk of its own, which is filled and freed again. Run as root of a mount namespace; prints `fine`."""

import asyncio
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small_disk import fill
from small_mesh import usual_saga
from test_saga_log_file import EVERY_KIND, accepted, rows
from waiting import eventually_async, under_load

from sagagen.runtime.clock import SystemClock
from sagagen.runtime.health import Readiness
from sagagen.runtime.log.store import LogUnavailable, SagaLog
from sagagen.runtime.log.upkeep import PurgeTime, one_round, upkeep
from sagagen.runtime.saga.events import Ended, SagaStatus


async def write_until_the_reserve_is_needed(log: SagaLog) -> int:
    ref = await log.accept(accepted("under way"))
    assert ref
    written = 0
    while not log.is_disk_full:
        await log.append(ref, [EVERY_KIND[0]] * 50, SagaStatus.RUNNING)
        written += 50
    await log.append(ref, [Ended(at_ms=9, status=SagaStatus.COMPLETED)], SagaStatus.COMPLETED)
    return written


async def live(folder: Path) -> None:
    path, filler = folder / "saga-log.db", folder / "filler"
    async with SagaLog.open(path) as log:
        old = await log.accept(accepted("old"))
        assert old
        fill(filler)
        written = await write_until_the_reserve_is_needed(log)
        assert len(await rows(log, "under way")) == written + 2, (
            "what was under way went on, and lost nothing"
        )
        readiness = Readiness({"saga log": log.check})
        assert await readiness.problems() == ["saga log: the disk is full"]
        assert await log.accept(accepted("old")) is None, "a repeat is found"
        with pytest.raises(LogUnavailable, match="full"):
            await log.accept(accepted("new"))
        clock = SystemClock()
        await log.append(old, [replace(EVERY_KIND[1], at_ms=clock.wall_ms())], None)  # the log's own time
        now = PurgeTime(clock)
        assert await one_round(log, [usual_saga()], now) == 1, "purging works on the reserve"
        assert log.is_disk_full
        filler.unlink()
        begun_s = time.monotonic()
        async with upkeep(log, [usual_saga()]):
            await eventually_async("room", lambda: not log.is_disk_full)
        assert time.monotonic() - begun_s < under_load(2.0)
        assert await readiness.problems() == []
        assert await log.accept(accepted("new"))


if __name__ == "__main__":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", sys.argv[1]], check=True)
    asyncio.run(live(Path(sys.argv[1])))
    print("fine")
