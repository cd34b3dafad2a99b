"""The port between whoever starts, watches and operates sagas and the engine that runs them: `SagaRuntime`.

The edge, the admin listener and the gauges know an engine by this module alone; which engine it is, only `process/`
decides. `SagaControl` is its operators' half, which a log at rest has too.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.clock import rfc3339
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga.commands import CommandRejected, Offer, OperatorCommand, UnknownSaga
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import Accepted, LogEvent, SagaStatus
from sagagen.runtime.saga.figures import SagaFigures
from sagagen.runtime.saga.journal import JournalUnavailable, JournalUnreadable
from sagagen.runtime.saga.result import SagaResult
from sagagen.runtime.saga.search import (
    CallerQuery,
    OpenCount,
    SagaPage,
    SagaQuery,
    SagaSummary,
    UnreadableSaga,
)
from sagagen.runtime.saga.view import SagaView

__all__ = [
    "CANCEL",
    "Acceptance",
    "CallerQuery",
    "CommandRejected",
    "Delivered",
    "Delivery",
    "DiskUse",
    "JournalUnavailable",
    "JournalUnreadable",
    "Leaving",
    "MovableRuntime",
    "NotAcceptable",
    "NotDelivered",
    "Offer",
    "OpenCount",
    "OperatorCommand",
    "Overloaded",
    "RecordedSaga",
    "Refusal",
    "SagaControl",
    "SagaPage",
    "SagaQuery",
    "SagaResult",
    "SagaRuntime",
    "SagaSummary",
    "SagaView",
    "Started",
    "TooManyRunning",
    "UnknownSaga",
    "UnreadableSaga",
]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A request that starts a saga."""

    saga: Saga
    saga_id: str
    caller: str
    key: str
    """The idempotency key, or what stands for it where there is none."""
    fingerprint: bytes
    """Of trigger and payload: by it a replay is told from another request with the same key."""
    input: bytes
    """The trigger's request, encoded."""
    trace: TraceContext
    claims: str = ""
    """Of the caller, as canonical JSON (`rpc/caller_claims.py`); empty if there are none."""


@dataclass(frozen=True, slots=True)
class Started:
    """What `accept` found or made."""

    saga_id: str
    is_new: bool
    caller: str
    """Caller, fingerprint and trace id are those of the first acceptance."""
    fingerprint: bytes | None
    """None: the saga was accepted before, and what with can't be read yet. Ask again a little later."""
    result: SagaResult | None
    """None: there is none yet."""
    trace_id: str
    started_ms: int
    """When it was first accepted, ms since the epoch."""
    status: SagaStatus


CANCEL = "~cancel"
"""`Delivery.event` of a request to cancel. No event has such a name."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event from outside for a saga, or a client's request to cancel it."""

    saga: str
    """Name of the saga's definition, whose route the request came by."""
    saga_id: str
    event: str
    """Name of the event in the contract, or CANCEL."""
    key: str
    """The idempotency key; it counts within saga, event and caller."""
    fingerprint: bytes
    """Of rpc and payload, as of an acceptance."""
    payload: bytes
    """The event's message, encoded."""
    caller: str
    is_operator: bool = False
    """`allow` is not asked."""
    claims: str = ""
    """Of the caller, as of an acceptance."""
    audit: AuditEntry | None = None
    """What the audit says of an operator's once it is taken; it goes with the row."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """It is in the log, durably."""

    is_new: bool
    """False: it was there before, under the same key."""
    trace_id: str
    """The saga's."""
    started_ms: int
    """The saga's `started_at`, ms since the epoch."""
    version: int = 0
    """Of the saga's definition."""
    input: bytes = b""
    """The request that started the saga, encoded."""


class Refusal(StrEnum):
    """Why nothing was delivered."""

    UNKNOWN_SAGA = "UNKNOWN_SAGA"
    """This engine knows no saga of that id and definition; it may be accepted in a moment, or by another gateway."""
    SAGA_OVER = "SAGA_OVER"
    """It has ended, or turns back."""
    NOT_EXPECTED = "NOT_EXPECTED"
    """No wait for the event can still come, or each has its event."""
    TOO_LATE = "TOO_LATE"
    """The saga can't be cancelled any more: its pivot was attempted."""
    NOT_ALLOWED = "NOT_ALLOWED"
    """The contract's `allow` is false for this caller and event."""
    KEY_REUSED = "KEY_REUSED"
    """The key was used before, with another payload."""
    SAGA_ELSEWHERE = "SAGA_ELSEWHERE"
    """Another gateway's run owns the saga."""
    NOT_READY = "NOT_READY"
    """The saga has not claimed its id yet, or waits for a deployment: send the same request again."""


class NotDelivered(Exception):
    """Nothing was stored; the message is for people."""

    def __init__(self, refusal: Refusal, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.retry_after_s = retry_after_s
        """When to send it again, in seconds; None: that changes nothing."""


class NotAcceptable(Exception):
    """The request can start no saga, and never will; the message says why. Nothing was accepted."""


class Overloaded(Exception):
    """Nothing was accepted: the engine has too much to do, or is stopping. Try again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyRunning(Overloaded):
    """Nothing was accepted: this caller has as many active sagas as one caller may have."""


class RecordedSaga(Protocol):
    """A saga as it is recorded."""

    @property
    def rows(self) -> Sequence[LogEvent]: ...

    @property
    def accepted(self) -> Accepted:
        """The first of the rows."""
        ...

    @property
    def cursor(self) -> str:
        """Its place among the others, for `SagaQuery.before`."""
        ...

    @property
    def hidden(self) -> str:
        """Why what is encrypted of it can't be read; empty if it can, or nothing is."""
        ...

    @property
    def waiting_for(self) -> str:
        """What must be deployed elsewhere for it to go on, as whoever drives it says; empty if nothing is known."""
        ...


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What an engine keeps on a disk of this machine."""

    size_bytes: int
    is_full: bool
    """New sagas are turned away until there is room again."""


class SagaControl(Protocol):
    """What operators work with: the sagas of an engine that runs, or those of a log at rest."""

    @property
    def definitions(self) -> Definitions:
        """All versions of all sagas that the code keeps."""
        ...

    async def find(self, saga_id: str) -> RecordedSaga | None:
        """A saga as it is recorded; None if there is none of this id. Raises JournalUnreadable."""
        ...

    async def ids(self, beginning: str, at_most: int) -> Sequence[str]:
        """Ids that begin like this, in order."""
        ...

    async def search(self, query: SagaQuery) -> Sequence[RecordedSaga | UnreadableSaga]:
        """A page of the sagas that match, newest first; empty after the last one."""
        ...

    async def open_counts(self) -> Sequence[OpenCount]:
        """How many open sagas there are, by definition and status."""
        ...

    async def ended_counts(self) -> Mapping[tuple[str, SagaStatus], int]:
        """How many of the sagas that are kept have ended, by name and status."""
        ...

    @property
    def figures(self) -> SagaFigures:
        """What it can tell of many sagas at once."""
        ...

    async def command(self, saga_id: str, command: OperatorCommand) -> None:
        """Carry out what an operator wants, between two calls of the saga; it is durable when this returns.

        Raises UnknownSaga, CommandRejected if the saga does not allow it now, or JournalUnavailable. If the caller is
        cancelled the command may be carried out all the same.
        """
        ...

    def offers(self, recorded: RecordedSaga) -> Sequence[Offer]:
        """The commands that the saga would carry out, as it is recorded; none while it waits for a deployment."""
        ...

    def disk_use(self) -> DiskUse | None:
        """None: nothing is kept on this machine."""
        ...


@dataclass(frozen=True, slots=True)
class Halted:
    """Active sagas that have something to do, and have not gone on for half a minute."""

    undriven: Mapping[str, int]
    """How many no process drives, by saga."""
    wedged: Sequence[tuple[str, str]] = ()
    """Those that can't go on: what is recorded of them can't be read, or does not fit. Saga and id, ten at most."""


class SagaRuntime(SagaControl, Protocol):
    """An engine at work. It is opened and closed by whoever chose it."""

    async def halted(self) -> Halted:
        """Which sagas nobody drives. Raises JournalUnavailable."""
        ...

    async def accept(self, acceptance: Acceptance) -> Started:
        """Start a saga, or find the one that has this id. A new one is durable when this returns.

        Any number of callers may bring the same id at once: one of them gets `is_new`. If the caller is cancelled, the
        saga runs all the same. A saga that exists is found however much there is to do.

        Raises Overloaded (TooManyRunning where it is this caller that has too much), JournalUnavailable or
        NotAcceptable: then nothing was accepted.
        """
        ...

    async def deliver(self, delivery: Delivery) -> Delivered:
        """Give a saga an event, or cancel it. It is durable when this returns.

        Checked against all that the saga has, whether on disk or not: a refusal leaves when what it cites is durable.
        Raises NotDelivered: then nothing was stored. Raises JournalUnavailable while nothing can be written: it may be
        stored later, and whoever sends the same with the same key learns of it. If the caller is cancelled the event
        may be delivered all the same.
        """
        ...

    async def wait(
        self, saga_id: str, timeout_s: float, closing: "asyncio.Future[None] | None" = None
    ) -> SagaResult | None:
        """The saga's result, as soon as it is durable. None if there is none in time, or none to wait for.

        Nothing is left to wait for when the saga is stuck, waits for a deployment, or the engine drains; or when
        `closing` is done.
        """
        ...

    async def describe(self, saga_id: str) -> SagaView | None:
        """The saga as it stands, or None if there is none of this id."""
        ...

    async def of_caller(self, query: CallerQuery) -> SagaPage:
        """A page of the sagas that a caller has started, newest first; of ANONYMOUS none are listed.

        It looks at a bounded number of them. Raises UnknownSaga if `after` is none of the caller's.
        """
        ...

    async def check(self) -> str:
        """What is in the way of new sagas, in a few words; empty if nothing."""
        ...

    def room(self) -> int:
        """How many more sagas may begin now, by how long those that began last wait; 0 if there is too much to do.

        It costs next to nothing, so it can be asked before anything is read of a request.
        """
        ...

    def stop_accepting(self) -> None:
        """Begin to drain: no new sagas, no new calls; waits end at once, calls under way go on. May be repeated."""
        ...


class MovableRuntime(SagaRuntime, Protocol):
    """An engine that a project can leave, or enter while it leaves another."""

    @property
    def running(self) -> int:
        """Sagas that count for `max_running` in this process."""
        ...

    async def active_of(self, caller: str) -> int:
        """How many active sagas a caller has, where that is limited; 0 for those that nobody knows."""
        ...

    async def started(self, saga_id: str, saga: str = "") -> Started | None:
        """As `accept` finds a saga that was accepted before; None if none was. Nothing begins.

        `saga` is the name of its definition, where whoever asks knows it. Raises JournalUnavailable.
        """
        ...

    async def open_count(self) -> int:
        """How many sagas are accepted and have not ended."""
        ...

    async def last_ends_ms(self) -> Mapping[str, int]:
        """When the last saga of each definition has ended, ms since the epoch, of those that are kept."""
        ...


@dataclass(frozen=True, slots=True)
class Leaving:
    """What remains in the engine that is left."""

    name: str
    """What people call it: `log var/saga-log.db`."""
    open: int
    keys_until_ms: int | None
    """Until when keys of sagas that have ended count, ms since the epoch; None: none counts any more."""
    is_known: bool = True
    """False: it can't be reached."""

    @property
    def can_go(self) -> bool:
        return self.is_known and not self.open and self.keys_until_ms is None

    def __str__(self) -> str:
        if not self.is_known:
            return f"the {self.name} can't be reached"
        if self.can_go:
            return f"the {self.name} can go: no open saga, no key within retention"
        waits = [f"open sagas: {self.open}"] if self.open else []
        if self.keys_until_ms is not None:
            waits.append(f"keys count until {rfc3339(self.keys_until_ms)}")
        return f"the {self.name} must stay: {'; '.join(waits)}"
