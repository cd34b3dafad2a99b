"""What is read when Prometheus asks: how the sagas stand just now, whichever process wrote their rows."""

import time
from collections.abc import Sequence

from sagagen.runtime.engine.port import SagaRuntime
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.journal import JournalUnavailable
from sagagen.runtime.saga.search import OpenCount
from sagagen.runtime.telemetry.metrics import (
    ACTIVE,
    COMPENSATING,
    DISK_IS_FULL,
    LOG_BYTES,
    OLDEST,
    STUCK,
    STUCK_AT,
    UNDRIVEN,
    WAITING,
    WAITING_AT,
    WEDGED,
)


async def set_gauges(sagas: SagaRuntime) -> None:
    """Read what is true now. Versions that this code keeps are shown also where no saga has them.

    Where nobody can tell, nothing is said of sagas, and all other metrics are read.
    """
    for gauge in (ACTIVE, COMPENSATING, STUCK, WAITING, OLDEST, STUCK_AT, WAITING_AT, UNDRIVEN, WEDGED):
        gauge.clear()  # a version whose last saga is over is not reported any more
    try:
        open_counts, definitions = await sagas.open_counts(), sagas.definitions
    except JournalUnavailable:
        return
    kept = {(name, version) for name in definitions.names for version in definitions.versions(name)}
    for name, version in kept | {(each.saga, each.version) for each in open_counts}:
        own = [each for each in open_counts if (each.saga, each.version) == (name, version)]
        _set_version(definitions, name, version, own)
    for name in {*definitions.names, *(each.saga for each in open_counts)}:
        oldest_ms = min((each.oldest_ms for each in open_counts if each.saga == name), default=None)
        OLDEST.labels(name).set(0.0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000))
    await _set_halted(sagas)
    if disk := sagas.disk_use():
        LOG_BYTES.set(disk.size_bytes)
        DISK_IS_FULL.set(disk.is_full)


async def _set_halted(sagas: SagaRuntime) -> None:
    try:
        halted = await sagas.halted()
    except JournalUnavailable:
        return
    for name in {*sagas.definitions.names, *halted.undriven}:
        UNDRIVEN.labels(name).set(halted.undriven.get(name, 0))
        WEDGED.labels(name).set(0)
    for name, _ in halted.wedged:
        WEDGED.labels(name).inc()


def _set_version(definitions: Definitions, name: str, version: int, own: Sequence[OpenCount]) -> None:
    labels = (name, str(version))
    active = [each for each in own if each.status.is_active]
    backward = [each for each in active if each.status is SagaStatus.COMPENSATING]
    stuck = [each for each in own if not each.status.is_active]
    waiting = [each for each in active if not definitions.keeps(name, version, each.digest)]
    for gauge, counted in (
        (ACTIVE, active),
        (COMPENSATING, backward),
        (STUCK, stuck),
        (WAITING, waiting),
    ):
        gauge.labels(*labels).set(sum(each.count for each in counted))
    for each in own:
        gauge = WAITING_AT if each.status.is_active else STUCK_AT
        for step in each.at_steps:
            gauge.labels(*labels, step).inc(each.count)
