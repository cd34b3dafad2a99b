"""Looking for sagas: what can be asked for, and how open ones are counted. The same for every engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.where import Where

OPEN = tuple(status for status in SagaStatus if status.is_open)


@dataclass(frozen=True, slots=True)
class SagaQuery:
    saga: str = ""
    """Name; empty: all."""
    statuses: tuple[SagaStatus, ...] = OPEN
    started_before_ms: int | None = None
    """Milliseconds since the epoch, inclusive; None: whenever they started."""
    ended_since_ms: int | None = None
    """Milliseconds since the epoch, inclusive: only sagas that have ended, and no earlier. None: all."""
    where: Where | None = None
    """Over the values by which sagas of the contract can be found."""
    waiting_at: tuple[str, ...] | None = None
    """Names of steps: without the sagas that are known to wait, and at none of these. None: they are not asked."""
    before: str = ""
    """Cursor of the last saga of the page before; empty: begin with the newest."""
    limit: int = 100


CALLER_PAGE, MAX_CALLER_PAGE = 50, 100
"""Sagas on a page of a caller's: where it is not said how many, and at most."""


@dataclass(frozen=True, slots=True)
class CallerQuery:
    """A page of the sagas that one caller has started, newest first."""

    caller: str
    statuses: frozenset[SagaStatus] = frozenset(SagaStatus)
    after: str = ""
    """Id of a saga of the caller: the page begins behind it. Empty: begin with the newest."""
    limit: int = CALLER_PAGE


@dataclass(frozen=True, slots=True)
class SagaSummary:
    """What the current-state table says of a saga. Times in milliseconds since the epoch."""

    saga_id: str
    saga: str
    version: int
    status: str
    """A SagaStatus, or what later code has written."""
    trace_id: str
    created_ms: int
    updated_ms: int


class SagaPage(NamedTuple):
    sagas: Sequence[SagaSummary]
    """May be fewer than were asked for, or none, though there are more."""
    last: str
    """What `CallerQuery.after` of the next page is; empty after the last page."""


class Place(NamedTuple):
    """Where a saga that waits stands in the order in which they wake."""

    wake_ms: int
    """Milliseconds since the epoch."""
    number: int
    """Tells those apart that wake at the same time."""


BEGINNING = Place(0, 0)


class DueSaga(NamedTuple):
    """A saga that waits, and when it wakes."""

    saga_id: str
    place: Place


@dataclass(frozen=True, slots=True)
class UnreadableSaga:
    """A saga of which something is recorded that this code can't read. What is said of it was last known to be so."""

    saga_id: str
    saga: str
    version: int
    status: str
    started_ms: int
    why: str
    """In a sentence that names the saga."""
    cursor: str


@dataclass(frozen=True, slots=True)
class SagaPlace:
    """A saga and its definition."""

    saga_id: str
    saga: str
    version: int
    digest: str


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
    at_steps: tuple[str, ...] = ()
    """Names of the steps that they are stuck at, or wait at if they only wait."""
