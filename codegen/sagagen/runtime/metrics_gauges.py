"""What is read when Prometheus asks: how the log stands just now, whatever process wrote it."""

import time
from collections.abc import Iterable

from sagagen.runtime.log import SagaLog
from sagagen.runtime.metrics import DISK_IS_FULL, IN_FLIGHT, LOG_BYTES, OLDEST, STUCK


async def set_gauges(log: SagaLog, names: Iterable[str]) -> None:
    """Read from the log what is true now; `names` are the sagas that are shown also where there are none."""
    standing = await log.standing()
    known = {*names, *(each.saga for each in standing)}
    for name in known:
        own = [each for each in standing if each.saga == name]
        IN_FLIGHT.labels(name).set(sum(each.count for each in own if each.status.is_under_way))
        STUCK.labels(name).set(sum(each.count for each in own if not each.status.is_under_way))
        oldest_ms = min((each.oldest_ms for each in own), default=None)
        OLDEST.labels(name).set(0.0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000))
    LOG_BYTES.set(log.size_bytes)
    DISK_IS_FULL.set(log.is_disk_full)
