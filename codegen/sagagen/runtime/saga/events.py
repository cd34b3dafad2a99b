"""The rows of a saga: what happened to it, in the order in which it happened.

Each row is a fact. Durable rows are on disk before anything that follows from them is done or shown; the others ride
along in a later commit, always in the order of the log, and losing any of them in a crash changes no outcome.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from grpclib.const import Status as Code

from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.errors import DOMAIN
from sagagen.runtime.rpc.refusals import BarrierRefusal
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga.result import SagaResult
from sagagen.runtime.scope import Failure


class SagaStatus(StrEnum):
    RUNNING = "RUNNING"
    COMPENSATING = "COMPENSATING"
    COMPLETED = "COMPLETED"
    COMPENSATED = "COMPENSATED"
    SUPERSEDED = "SUPERSEDED"
    """Another run owns the saga; this one had no effect."""
    STUCK = "STUCK"
    """Waits for an operator."""

    @property
    def is_active(self) -> bool:
        """Neither over nor stuck: whichever process runs its engine goes on with it."""
        return self in (SagaStatus.RUNNING, SagaStatus.COMPENSATING)

    @property
    def is_open(self) -> bool:
        """Not over: active, or stuck."""
        return self.is_active or self is SagaStatus.STUCK


class Outcome(StrEnum):
    """What is known of a call after an attempt."""

    DONE = "DONE"
    REFUSED = "REFUSED"
    """The service recorded a business refusal: nothing happened and nothing will. It settles earlier doubt."""
    NOT_CALLED = "NOT_CALLED"
    """Nothing was sent, or what was sent reached a service that another run owns: this run has no effect there."""
    DOUBT = "DOUBT"
    """Everything else."""


_DECISIVE = {refusal.value: refusal for refusal in BarrierRefusal if refusal is not BarrierRefusal.EXPIRED}
"""Those that decide a saga's way, by ErrorInfo.reason."""

START = "~start"
"""Step key of the delay before a saga's first step. No element has such a name."""


@dataclass(frozen=True, slots=True)
class NextRequest:
    """What will be sent to the step that follows, logged before it is sent."""

    body: bytes | None = None
    """None: no step follows, or the request can't be built."""
    problem: str = ""
    """Why it can't be built; then the step is NOT_CALLED for good."""
    step: str = ""
    """Key of the step that it is for. In a straight line it goes unsaid: it is the step after."""
    until_ms: int | None = None
    """Of a wait or a delay: when it ends, ms since the epoch."""

    def __bool__(self) -> bool:
        """Whether anything is planned."""
        return self.body is not None or bool(self.problem) or self.until_ms is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """What every row has."""

    is_durable: ClassVar[bool] = False

    at_ms: int
    """The engine's clock, ms since the epoch; never less than that of the row before."""
    span_id: str = ""
    """16 hex digits: the span of the attempt, or the one the saga started in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(LogEvent):
    """The saga exists. No 2xx leaves before this row is durable."""

    is_durable: ClassVar[bool] = True

    saga_id: str
    saga: str
    version: int
    digest: str
    run: str
    caller: str
    key: str
    fingerprint: bytes
    input: bytes
    trace: TraceContext
    next: NextRequest
    starts_ms: int | None = None
    """When its first step may begin, ms since the epoch; None: at once."""
    claims: str = ""
    """What is known of the caller besides, as canonical JSON (`rpc/caller_claims.py`); empty if nothing is."""
    started_ms: int = field(init=False, repr=False, compare=False)
    """The saga's stamp: services forget by it, and its deadline counts from it."""

    def __post_init__(self) -> None:
        # Worked out once, since each call of the saga asks for it.
        started_ms = self.at_ms if self.starts_ms is None else self.starts_ms
        object.__setattr__(self, "started_ms", started_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(LogEvent):
    """An element is ready: this is what its call will be sent, or when its wait or delay ends."""

    is_durable: ClassVar[bool] = True

    next: NextRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPlanned(LogEvent):
    """A loop is ready: these are its iterations, none if its list is empty. A Planned row for each comes with it."""

    is_durable: ClassVar[bool] = True

    step: str
    keys: tuple[str, ...]
    """Keys of the items, in the order of the list."""
    at_once: int
    result: SagaResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped(LogEvent):
    """Its `when` is false: an element, or an iteration, that is settled without a call."""

    is_durable: ClassVar[bool] = True

    step: str
    result: SagaResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(LogEvent):
    """A step's action took effect; a wait got its event; or a delay is over."""

    is_durable: ClassVar[bool] = True

    step: str
    attempt: int
    """0 for what makes no call."""
    response: bytes
    """Empty for a wait: the event has it."""
    next: NextRequest
    result: SagaResult | None = None
    event: int | None = None
    """Number of the event that a wait got, in the order of the log, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut(LogEvent):
    """No event came within a wait's time. It settles the wait for good."""

    is_durable: ClassVar[bool] = True

    step: str
    result: SagaResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTaken(LogEvent):
    """An event came from outside, and was kept; no 2xx leaves before this row is durable."""

    is_durable: ClassVar[bool] = True

    event: str
    """Its name in the contract."""
    key: str
    """The idempotency key; it counts within the event and its caller."""
    fingerprint: bytes
    payload: bytes
    """The event's message, encoded."""
    caller: str
    claims: str = ""
    """As of Accepted."""
    audit: AuditEntry | None = field(default=None, repr=False, compare=False)
    """As of an OperatorRow, where an operator sent it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(LogEvent):
    """An attempt did not succeed."""

    step: str
    direction: Direction
    attempt: int
    """Starts at 1, over all incarnations of the process."""
    outcome: Outcome
    """REFUSED or DOUBT."""
    code: Code
    domain: str = ""
    reason: str = ""
    message: str = ""
    retry_after_s: float | None = None
    is_other_payload: bool = False
    """With OTHER_RUN: the other run was started with another payload."""
    owner_run: str = ""
    """With OTHER_RUN: the run that owns the saga, by its digest; in rows of earlier versions the run itself."""
    event: int | None = None
    """Of a wait: number of the event that was a refusal."""

    @property
    def is_ours(self) -> bool:
        """The runtime said it, not the handler."""
        return self.domain == DOMAIN

    @property
    def barrier_refusal(self) -> BarrierRefusal | None:
        """The barrier's refusal, if it is one that decides the saga's way."""
        return _DECISIVE.get(self.reason) if self.is_ours else None

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code.name, self.reason, self.message) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeUp(LogEvent):
    """The saga's deadline has passed (before the pivot), or the budget for repeating this call is spent (after it)."""

    step: str
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedBack(LogEvent):
    """From here on the saga only undoes. Durable before the first compensation is sent."""

    is_durable: ClassVar[bool] = True

    failure: Failure
    outcome: Outcome
    """Of the step that failed: DOUBT is compensated too."""
    result: SagaResult | None = None
    doubt: tuple[str, ...] = ()
    """Keys of the other calls that may have happened: they are compensated too, and nothing that is done later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensated(LogEvent):
    """A step's compensation took effect, or there was nothing to undo."""

    step: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver(LogEvent):
    """A step needs no compensation; `reason` is a token, `message` is for people."""

    step: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(LogEvent):
    """The saga has ended."""

    is_durable: ClassVar[bool] = True

    status: SagaStatus
    result: SagaResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck(LogEvent):
    """The saga waits for an operator. `failure.step` is empty if no step is to blame."""

    is_durable: ClassVar[bool] = True

    direction: Direction
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(LogEvent):
    """A new process took the saga over: whatever had no outcome is in doubt, called or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRow(LogEvent):
    """What a person did to the saga."""

    is_durable: ClassVar[bool] = True
    did: ClassVar[str] = ""
    """What they did, in a token."""

    by: str = ""
    """Who: their id, as the admin listener knows it; as they named themselves where it does not."""
    note: str = ""
    """Why, in their words."""
    audit: AuditEntry | None = field(default=None, repr=False, compare=False)
    """What the audit says of it, to be kept in one commit with the row. A row that was read has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(OperatorRow):
    """An operator had a failing call tried again, with a new budget."""

    did: ClassVar[str] = "retried"

    step: str
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved(OperatorRow):
    """An operator did this step's compensation by hand."""

    did: ClassVar[str] = "resolved"

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(OperatorRow):
    """The saga has to turn back, and does unless its pivot was attempted: an operator wants it, or a client."""

    did: ClassVar[str] = "cancelled"

    reason: str = ""
    """As the contract calls it, where a client cancels; empty: an operator did."""
    caller: str = ""
    """The client."""
    key: str = ""
    """Of its request, as of an event."""
    fingerprint: bytes = b""
    claims: str = ""
    """Of the client, as of Accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(OperatorRow):
    """An operator wants this call repeated no more for now: the saga is stuck at it, as if its budget were spent."""

    did: ClassVar[str] = "held"

    step: str
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneByHand(OperatorRow):
    """An operator saw to it that this step's action took effect; it counts as done."""

    did: ClassVar[str] = "resolved_as_done"

    step: str
    response: bytes
    next: NextRequest = NextRequest()
    result: SagaResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedByHand(OperatorRow):
    """An operator made sure that this pivot did not happen and will not; it counts as refused."""

    did: ClassVar[str] = "resolved_as_refused"

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveUp(OperatorRow):
    """A step after the pivot is left as it is, and may have happened; the saga goes on without its response.

    An operator skipped it, or the contract says `on_give_up: continue`: then it is by nobody.
    """

    did: ClassVar[str] = "skipped"

    failure: Failure
    """What it was given up for; `failure.step` is the step."""
    next: NextRequest = NextRequest()
    result: SagaResult | None = None

    @property
    def step(self) -> str:
        return self.failure.step
