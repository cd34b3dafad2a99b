"""Looking for sagas: what can be asked for, and how open ones are counted. The same for every engine."""

from dataclasses import dataclass

from sagagen.runtime.saga.events import SagaStatus

OPEN = tuple(status for status in SagaStatus if status.is_open)


@dataclass(frozen=True, slots=True)
class SagaQuery:
    saga: str = ""
    """Name; empty: all."""
    statuses: tuple[SagaStatus, ...] = OPEN
    started_before_ms: int | None = None
    """Milliseconds since the epoch, inclusive; None: whenever they started."""
    before: str = ""
    """Cursor of the last saga of the page before; empty: begin with the newest."""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class OpenCount:
    """Open sagas of one definition that have one status."""

    saga: str
    version: int
    digest: str
    status: SagaStatus
    count: int
    oldest_ms: int
    """When the oldest was accepted, ms since the epoch."""
