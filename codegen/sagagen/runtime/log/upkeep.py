"""What the log needs now and then: it purges sagas that ended long ago and old entries of the audit, makes a spent
reserve again, and looks for its files."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from sagagen.runtime.audit.trail import STRANGERS_S
from sagagen.runtime.clock import Clock, SystemClock
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.journal import JournalUnavailable
from sagagen.runtime.settings import AUDIT_DAYS

EVERY_S = 60.0
"""Time in seconds between two rounds."""
LOOK_S = 1.0
"""Time in seconds between two looks at the files, and at the disk: while it is full, each of them is a round."""
SLACK_S = 3600.0
"""Time in seconds that a saga is kept beyond its retention. Barriers purge in rounds too, and must forget first."""
SETTLED_S = 3600.0
"""Time in seconds after which a stamp in the log is believed: a clock that is wrong has been noticed by then."""
UNKNOWN_RETENTION_S = 30 * 86400.0
"""Least retention, in seconds, of sagas whose definition is gone: thirty days, the contract's default."""
AUDIT_S = AUDIT_DAYS * 86400.0
"""Time in seconds that the audit is kept, unless the settings say otherwise."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class KeptAudit(Protocol):
    """The audit of a log that is looked after."""

    async def remove(self, before_ms: int, strangers_before_ms: int) -> int:
        """Some of the entries from before a time (ms since the epoch), and of strangers from before another.

        Returns how many.
        """
        ...

    async def expire(self, now_ms: int) -> int:
        """Remove orders that nobody has confirmed in time, each with an entry. Returns how many."""
        ...


class KeptLog(Protocol):
    """A log that is looked after, whichever it is."""

    @property
    def audit(self) -> KeptAudit: ...

    @property
    def is_disk_full(self) -> bool: ...

    def look(self) -> str:
        """Is it in place? What is wrong, in a few words."""
        ...

    async def restore_reserve(self) -> None:
        """Make the reserve again if the disk has room for it."""
        ...

    async def last_ms(self) -> int:
        """Time of the last row, ms since the epoch; 0 if there is none."""
        ...

    async def ended_names(self) -> Sequence[str]:
        """Names of the definitions of which some sagas have ended."""
        ...

    async def purge(self, name: str, before_ms: int) -> int:
        """Forget some sagas of this name that ended before a time (ms since the epoch). Returns how many."""
        ...


class PurgeTime:
    """What is old: the wall clock and the log's own stamps have to agree, as they do where barriers forget.

    A clock that is ahead for a moment would otherwise make the log forget sagas whose barriers remember them. What
    this process has written counts only after SETTLED_S, since its stamps are by the same clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._settled_ms: int | None = None
        self._newest_ms = 0
        self._since_s = clock.monotonic_s()
        """When `_newest_ms` was looked at."""

    def now_ms(self, newest_ms: int) -> int:
        """`newest_ms`: the stamp of the log's last row. The first is what earlier processes left."""
        now_s = self._clock.monotonic_s()
        if self._settled_ms is None:
            self._settled_ms = self._newest_ms = newest_ms
        elif now_s - self._since_s >= SETTLED_S:
            self._settled_ms, self._newest_ms, self._since_s = self._newest_ms, newest_ms, now_s
        return min(self._clock.wall_ms(), self._settled_ms)


@asynccontextmanager
async def upkeep(
    log: KeptLog,
    sagas: Sequence[Saga],
    *,
    clock: Clock | None = None,
    every_s: float = EVERY_S,
    look_s: float = LOOK_S,
    audit_s: float = AUDIT_S,
) -> AsyncGenerator[None]:
    """Look after the log until the block ends. To be entered before anything writes to it.

    `audit_s` is how long the audit is kept, in seconds.
    """
    clock = clock or SystemClock()
    now = PurgeTime(clock)
    now.now_ms(await log.last_ms())

    async def round_() -> None:
        await one_round(log, sagas, now)
        await one_round_of_audit(log, clock.wall_ms(), audit_s)

    task = asyncio.create_task(_rounds(log, round_, every_s, look_s), name="log upkeep")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _rounds(log: KeptLog, round_: Callable[[], Awaitable[None]], every_s: float, look_s: float) -> None:
    loop = asyncio.get_running_loop()
    next_s = loop.time()
    while True:
        log.look()
        # Looked at often: a disk that fills during a pause would otherwise count as full until its end.
        if log.is_disk_full or loop.time() >= next_s:
            next_s = loop.time() + every_s
            await _tried(round_)
        await asyncio.sleep(min(every_s, look_s))


async def _tried(round_: Callable[[], Awaitable[None]]) -> None:
    try:
        await round_()
    except JournalUnavailable as error:
        _logger.warning("the saga log can't be purged now", error=str(error))
    except Exception:
        _logger.exception("the upkeep of the saga log failed; it is tried again")


async def one_round(log: KeptLog, sagas: Sequence[Saga], now: PurgeTime) -> int:
    """Restore the reserve, and purge what has expired. Returns how many sagas were purged."""
    if log.is_disk_full:
        await log.restore_reserve()
    now_ms = now.now_ms(await log.last_ms())
    retention_s = Definitions(sagas).retentions_s
    otherwise_s = max(UNKNOWN_RETENTION_S, *retention_s.values()) if retention_s else UNKNOWN_RETENTION_S
    purged = 0
    for name in await log.ended_names():
        before_ms = now_ms - round((retention_s.get(name, otherwise_s) + SLACK_S) * 1000)
        while count := await log.purge(name, before_ms):
            purged += count
    if purged:
        _logger.info("sagas that ended long ago are purged", count=purged)
    return purged


async def one_round_of_audit(log: KeptLog, now_ms: int, audit_s: float = AUDIT_S) -> int:
    """Remove entries that are too old, and orders that nobody confirmed in time. Returns how many entries.

    By the wall clock alone: in a log that gets no rows an older stamp would keep a flood of refusals for ever.
    """
    await log.audit.expire(now_ms)
    before_ms = now_ms - round(audit_s * 1000)
    strangers_before_ms = max(before_ms, now_ms - round(STRANGERS_S * 1000))
    removed = 0
    while count := await log.audit.remove(before_ms, strangers_before_ms):
        removed += count
    return removed
