"""What the log needs now and then: it purges sagas that ended long ago, and makes a spent reserve again."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog

from sagagen.runtime.clock import Clock, SystemClock
from sagagen.runtime.log.store import LogUnavailable, SagaLog
from sagagen.runtime.model.definition import Saga

EVERY_S = 60.0
"""Time in seconds between two rounds."""
WHEN_FULL_S = 1.0
"""Time in seconds between two rounds while the disk is full."""
SLACK_S = 3600.0
"""Time in seconds that a saga is kept beyond its retention. Barriers purge in rounds too, and must forget first."""
UNKNOWN_RETENTION_S = 30 * 86400.0
"""Least retention, in seconds, of sagas whose definition is gone: thirty days, the contract's default."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@asynccontextmanager
async def upkeep(
    log: SagaLog, sagas: Sequence[Saga], *, clock: Clock | None = None, every_s: float = EVERY_S
) -> AsyncGenerator[None]:
    """Look after the log until the block ends."""
    task = asyncio.create_task(_rounds(log, sagas, clock or SystemClock(), every_s), name="log upkeep")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _rounds(log: SagaLog, sagas: Sequence[Saga], clock: Clock, every_s: float) -> None:
    while True:
        try:
            await one_round(log, sagas, clock)
        except LogUnavailable as error:
            _logger.warning("the saga log can't be purged now", error=str(error))
        except Exception:
            _logger.exception("the upkeep of the saga log failed; it is tried again")
        await asyncio.sleep(min(every_s, WHEN_FULL_S) if log.is_disk_full else every_s)


async def one_round(log: SagaLog, sagas: Sequence[Saga], clock: Clock) -> int:
    """Purge what has expired, and restore the reserve. Returns how many sagas were purged."""
    retention_s = retentions_s(sagas)
    otherwise_s = max(UNKNOWN_RETENTION_S, *retention_s.values()) if retention_s else UNKNOWN_RETENTION_S
    purged = 0
    for name in await log.ended_names():
        before_ms = clock.wall_ms() - round((retention_s.get(name, otherwise_s) + SLACK_S) * 1000)
        while count := await log.purge(name, before_ms):
            purged += count
    if purged:
        _logger.info("sagas that ended long ago are purged", count=purged)
    if log.is_disk_full:
        await log.restore_reserve()
    return purged


def retentions_s(sagas: Sequence[Saga]) -> Mapping[str, float]:
    """Time in seconds that each saga is kept after its end: the longest retention of its versions."""
    longest: dict[str, float] = {}
    for saga in sagas:
        longest[saga.name] = max(saga.retention_s, longest.get(saga.name, 0.0))
    return longest
