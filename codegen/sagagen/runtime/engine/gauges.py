"""What is read when Prometheus asks: how the log stands just now, whatever process wrote it."""

import time

from sagagen.runtime.log.search import OpenCount
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.telemetry.metrics import (
    COMPENSATING,
    DISK_IS_FULL,
    IN_FLIGHT,
    LOG_BYTES,
    OLDEST,
    STUCK,
    WAITING,
)


async def set_gauges(log: SagaLog, definitions: Definitions) -> None:
    """Read from the log what is true now. Versions that this code keeps are shown also where no saga has them."""
    standing = await log.standing()
    for gauge in (IN_FLIGHT, COMPENSATING, STUCK, WAITING, OLDEST):
        gauge.clear()  # a version whose last saga is over is told of no more
    kept = {(name, version) for name in definitions.names for version in definitions.versions(name)}
    for name, version in kept | {(each.saga, each.version) for each in standing}:
        own = [each for each in standing if (each.saga, each.version) == (name, version)]
        _set_version(definitions, name, version, own)
    for name in {*definitions.names, *(each.saga for each in standing)}:
        oldest_ms = min((each.oldest_ms for each in standing if each.saga == name), default=None)
        OLDEST.labels(name).set(0.0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000))
    LOG_BYTES.set(log.size_bytes)
    DISK_IS_FULL.set(log.is_disk_full)


def _set_version(definitions: Definitions, name: str, version: int, standing: list[OpenCount]) -> None:
    labels = (name, str(version))
    active = [each for each in standing if each.status.is_active]
    backward = [each for each in active if each.status is SagaStatus.COMPENSATING]
    stuck = [each for each in standing if not each.status.is_active]
    waiting = [each for each in active if not definitions.keeps(name, version, each.digest)]
    for gauge, counted in (
        (IN_FLIGHT, active),
        (COMPENSATING, backward),
        (STUCK, stuck),
        (WAITING, waiting),
    ):
        gauge.labels(*labels).set(sum(each.count for each in counted))
