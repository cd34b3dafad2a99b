"""A saga as the state of its workflow has it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sagagen.runtime.restate.state import of_state
from sagagen.runtime.saga.events import Accepted, LogEvent
from sagagen.runtime.saga.journal import JournalUnreadable


@dataclass(frozen=True, slots=True)
class SagaOnRestate:
    """Implements `RecordedSaga`."""

    rows: Sequence[LogEvent]
    accepted: Accepted
    cursor: str = ""
    hidden: str = ""
    waiting_for: str = ""
    is_resting: bool = False
    """It only waits."""


def recorded(state: bytes, cursor: str = "") -> SagaOnRestate:
    """Raises JournalUnreadable."""
    batch = of_state(state)
    first = batch.rows[0] if batch.rows else None
    if not isinstance(first, Accepted):
        raise JournalUnreadable("a workflow's state begins with no acceptance")
    return SagaOnRestate(batch.rows, first, cursor, is_resting=bool(batch.wake_ms))
