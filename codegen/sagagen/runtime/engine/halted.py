"""Which open sagas of a log stand still though somebody should drive them, and which of those can't be read."""

from collections import Counter
from collections.abc import Collection

from sagagen.runtime.engine.log_port import EngineLog
from sagagen.runtime.engine.port import Halted
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.journal import JournalUnreadable

HALTED_S = 30.0
"""Time in seconds after which a saga that nobody drives counts."""
LOOKED_AT, READ_AT_MOST = 1000, 10
"""How many are counted at most, and how many of them are read."""


async def halted(log: EngineLog, definitions: Definitions, driven: Collection[str], now_ms: int) -> Halted:
    """`driven` are the ids of sagas that have a task here, and change meanwhile. A saga that waits for a deployment is
    not meant.

    Raises JournalUnavailable.
    """
    known = set(driven)  # before the log is asked: one that ends meanwhile is driven
    found = [
        each
        for each in await log.unchanged(now_ms - round(HALTED_S * 1000), LOOKED_AT)
        if definitions.keeps(each.saga, each.version, each.digest)
        and each.saga_id not in known
        and each.saga_id not in driven
    ]
    wedged = [each for each in found[:READ_AT_MOST] if not await _can_be_read(log, each.saga_id)]
    undriven = Counter(each.saga for each in found if each not in wedged)
    return Halted(undriven, tuple((each.saga, each.saga_id) for each in wedged))


async def _can_be_read(log: EngineLog, saga_id: str) -> bool:
    try:
        await log.find(saga_id)
    except JournalUnreadable:
        return False
    return True
