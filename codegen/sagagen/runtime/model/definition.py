"""What the contract says, as data: generated code builds these values, and engine, services and edge read them.

Durations are seconds. Everything here is immutable and made once, at import.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar

from betterproto2 import Message
from grpclib.const import Status as Code

from sagagen.runtime.model.security import GATEWAY, Access, ClaimValue, Security

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

RETRIED_BY_DEFAULT = frozenset(
    {
        Code.UNAVAILABLE,
        Code.DEADLINE_EXCEEDED,
        Code.RESOURCE_EXHAUSTED,
        Code.ABORTED,
        Code.INTERNAL,
        Code.UNKNOWN,
    }
)
"""Repeating any of these is harmless: the barrier lets an effect through once."""
MAX_KEY_LENGTH = 255
"""Characters of an idempotency key, without quotes."""
MAX_CALLER_BYTES = 1024
"""Of who started a saga, in UTF-8: services are told with each call, in metadata of 8 KiB at most as a rule."""

_NO_CLAIMS: Mapping[str, ClaimValue] = MappingProxyType({})


class StepKind(StrEnum):
    """Richardson's terms: before, at and after the go/no-go step."""

    COMPENSATABLE = "compensatable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"


class Direction(StrEnum):
    ACTION = "action"
    COMPENSATION = "compensation"


# Looking a member up by its value is Python code of enum's own, 0.5 us; every call of a saga does so several times.
kind_of = cache(StepKind)
direction_of = cache(Direction)


class Transaction(StrEnum):
    """Who opens the local transaction of a write: the runtime around the handler, or the handler near its end."""

    LOCAL = "local"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Method(Generic[RequestT, ResponseT]):
    """An rpc of a service."""

    path: str
    """As on the wire: `/shop.order.v1.OrderService/CreateOrder`."""
    request: type[RequestT]
    response: type[ResponseT]
    handler: str
    """Name of the handler's method: `create_order`."""
    request_name: str
    """Full proto name of the request message, for validation and JSON."""
    response_name: str
    is_read: bool = False
    transaction: Transaction = Transaction.LOCAL


Isolation = Literal["read_committed", "repeatable_read", "serializable"]
"""Of transactions in PostgreSQL, weakest first; SQLite's are always the strongest."""
ISOLATION: Isolation = "repeatable_read"
BARRIER_RETENTION_S = 30 * 24 * 3600.0
"""How long a service remembers calls, if the contract does not say."""


@dataclass(frozen=True, slots=True)
class Service:
    """A participant: one process, one database, one handler class."""

    name: str
    port: int
    handlers: str
    """Where the handler class is: `handlers.order:OrderService`. Imported when the service starts, not before."""
    schema: str
    """The service's DDL, relative to the project root: `handlers/order.sql`."""
    methods: tuple[Method[Any, Any], ...]
    barrier_retention_s: float = BARRIER_RETENTION_S
    """A call of a saga that is older may be forgotten, and is then turned down as FORGOTTEN."""
    isolation: Isolation = ISOLATION
    """Of its transactions, where its database is PostgreSQL."""
    callers: tuple[str, ...] = (GATEWAY,)
    """Its callers, where the mesh knows its own: names of services, or `gateway`."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Capped exponential backoff, full jitter: retry n waits uniform(0, min(max_s, initial_s * multiplier**(n-1)))."""

    initial_s: float
    multiplier: float
    max_s: float
    max_attempts: int | None = None
    """None: until the saga's deadline (steps), or until `give_up_after_s` (compensations and retriable steps)."""
    give_up_after_s: float | None = None
    """Budget since the first failure; after it the saga is STUCK. None for steps that a deadline bounds."""
    codes: frozenset[Code] = RETRIED_BY_DEFAULT


@dataclass(frozen=True, slots=True)
class Action:
    """A call that a step or its compensation makes."""

    service: str
    method: Method[Any, Any]
    request: Callable[[Any], Message]
    """Builds the request from a `Scope` (steps) or a `CompensationScope`. Raises ExpressionError."""
    timeout_s: float
    retry: Retry


@dataclass(frozen=True, slots=True)
class ForEach:
    """Repeats a step, once for each item of a list."""

    items: Callable[[Any], Sequence[Any]]
    """The list, from a `Scope`. Raises ExpressionError."""
    key: Callable[[Any], str | int] | None = None
    """The key of one item, from a `Scope` that has it as `item`; None: its number, from 0."""
    at_once: int = 10
    """Items that may be under way at once. Logged with the loop: what runs keeps the number it began with."""
    max_items: int = 100


@dataclass(frozen=True, slots=True)
class Step:
    """An element that makes a call."""

    name: str
    kind: StepKind
    action: Action
    compensation: Action | None = None
    when: Callable[[Any], bool] | None = None
    """From a `Scope` (of an iteration: with its item); false: it is skipped. Raises ExpressionError."""
    for_each: ForEach | None = None
    gives_up: bool = False
    """`on_give_up: continue`: what can't be done after the pivot is left as it is, and the saga goes on."""


@dataclass(frozen=True, slots=True)
class Decline:
    """When an event is a refusal."""

    when: Callable[[Any], bool]
    """From an `EventScope`. Total: it raises nothing."""
    reason: str
    """An UPPER_SNAKE token."""


WAIT_TIMED_OUT = "WAIT_TIMED_OUT"
"""The reason of a wait that timed out, if the contract gives none."""


@dataclass(frozen=True, slots=True)
class Wait:
    """An element that waits for an event from outside."""

    name: str
    kind: StepKind
    event: str
    """Name of the event, in `Saga.events`."""
    within_s: float | None = None
    """None: until the saga's deadline."""
    decline: Decline | None = None
    on_timeout: str | None = WAIT_TIMED_OUT
    """The reason with which the saga turns back; None: it goes on (`on_timeout: continue`)."""
    when: Callable[[Any], bool] | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """An element that lets time pass. Exactly one of `after_s`, `after` and `at` is set."""

    name: str
    kind: StepKind
    after_s: float | None = None
    after: Callable[[Any], float] | None = None
    """Seconds, from a `Scope`. Raises ExpressionError."""
    at: Callable[[Any], int] | None = None
    """Milliseconds since the epoch, from a `Scope`; a time that has passed is now. Raises ExpressionError."""
    at_most_s: float | None = None
    """What is later can't be built; None: no bound but the deadline."""
    when: Callable[[Any], bool] | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    name: str
    steps: "tuple[Element, ...]"


@dataclass(frozen=True, slots=True)
class Parallel:
    """Branches that begin together; the block is settled when each of them is."""

    name: str
    kind: StepKind
    branches: tuple[Branch, ...]
    when: Callable[[Any], bool] | None = None


Element = Step | Wait | Delay | Parallel
"""What stands in a list of steps."""


@dataclass(frozen=True, slots=True)
class Event:
    """An rpc that no service implements: its call is kept in the saga's log, and ends a wait."""

    name: str
    method: Method[Any, Any]
    saga_id: Callable[[Any], str]
    """Which saga it is for, from an `EventScope` without `input`. Total."""
    allow: Callable[[Any], bool] | None = None
    """From an `EventScope`; false: 403. Total. None: anybody who may call the gateway."""
    body: Callable[[Any], Message] | None = None
    """Builds the response from an `EventScope`; None: its default."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """An rpc that no service implements: its call turns the saga back, as long as the pivot was not attempted."""

    method: Method[Any, Any]
    saga_id: Callable[[Any], str]
    """As of an event."""
    reason: str
    """An UPPER_SNAKE token: what `failure.reason` is then."""
    allow: Callable[[Any], bool] | None = None
    """As of an event; None: whoever started the saga."""


LATEST_START_S = 30 * 24 * 3600.0
"""How much later than its acceptance a saga may start, if the contract does not say."""


@dataclass(frozen=True, slots=True)
class Start:
    """A saga that starts later than it is accepted. Exactly one of `after_s`, `after` and `at` is set, as of a delay.

    The expressions read the input alone.
    """

    after_s: float | None = None
    after: Callable[[Any], float] | None = None
    at: Callable[[Any], int] | None = None
    at_most_s: float = LATEST_START_S
    """What is later is turned down with 400."""


@dataclass(frozen=True, slots=True)
class IndexValue:
    """A value by which sagas can be found: `sagas list --where`."""

    name: str
    value: Callable[[Any], str | bool | int]
    """From a `Scope` of the input. Total."""


AT_ACCEPTANCE = "acceptance"
"""`Respond.after` of a saga that is answered before its first step."""


@dataclass(frozen=True, slots=True)
class Respond:
    """When and with what the request that started the saga is answered."""

    after: str
    """A step's name, `completion` or `acceptance`."""
    status: int
    wait_s: float
    body: Callable[[Any], Message] | None = None
    """Builds the trigger's response from a `Scope`; None: its default."""
    is_known_at_once: bool = False
    """`body` reads no step, and the saga is answered at acceptance: so its first answer has the body already."""


def final_status(status: int) -> int:
    """HTTP status of the answer that is kept. 202 promises another one to come, so a final answer never has it."""
    return 200 if status == 202 else status


@dataclass(frozen=True, slots=True)
class Saga:
    """One version of a saga's definition."""

    name: str
    version: int
    digest: str
    """Hex SHA-256 of what decides how it runs; logged with each saga (P8)."""
    trigger: Method[Any, Any]
    """The rpc whose call starts it; no service implements it."""
    key: Literal["required", "optional"]
    on_concurrent: Literal["conflict", "wait"]
    retention_s: float
    deadline_s: float
    respond: Respond
    steps: tuple[Element, ...]
    events: tuple[Event, ...] = ()
    cancel: Cancel | None = None
    start: Start | None = None
    index: tuple[IndexValue, ...] = ()
    subject: Callable[[Any], str] | None = None
    """The person whose data it holds, from a `Scope` of the input: with encryption on they can be erased."""
    is_line: bool = field(init=False, repr=False, compare=False)
    """Its elements are calls, each made once, one after the other: the log need not say which call a request is for."""
    calls: tuple[Step, ...] = field(init=False, repr=False, compare=False)
    """The steps that make calls, those in branches included, in the order of the contract."""
    following: Mapping[str, Step] = field(init=False, repr=False, compare=False)
    """In a straight line: the step after each but the last one, by name."""
    deadline_ms: int = field(init=False, repr=False, compare=False)
    """`deadline_s` in whole milliseconds."""

    def __post_init__(self) -> None:
        # Worked out once, since the engine asks for each row.
        calls = tuple(each for each in leaves(self.steps) if isinstance(each, Step))
        is_line = self.start is None and all(_is_plain(element) for element in self.steps)
        following = {step.name: after for step, after in pairwise(calls)} if is_line else dict[str, Step]()
        object.__setattr__(self, "calls", calls)
        object.__setattr__(self, "is_line", is_line)
        object.__setattr__(self, "following", following)
        object.__setattr__(self, "deadline_ms", round(self.deadline_s * 1000))


def _is_plain(element: Element) -> bool:
    return isinstance(element, Step) and element.when is None and element.for_each is None


def leaves(elements: Iterable[Element]) -> Iterator[Step | Wait | Delay]:
    """Elements and what stands in their branches, blocks apart, in the order of the contract."""
    for element in elements:
        if isinstance(element, Parallel):
            for branch in element.branches:
                yield from leaves(branch.steps)
        else:
            yield element


def longest_timeout_s(saga: Saga) -> float:
    """How long an attempt of one of its calls may take."""
    actions = [action for step in saga.calls for action in (step.action, step.compensation) if action]
    return max((action.timeout_s for action in actions), default=0.0)


MAX_BODY_BYTES = 64 * 1024
"""What a route takes, if the contract does not say."""
LARGEST_BODY_BYTES = 1024 * 1024
"""What a contract can say at most: the HTTP server reads no more of any request."""


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP binding: google.api.http's terms."""

    verb: str
    template: str
    method: Method[Any, Any]
    target: str
    """Name of the service that answers, or of the saga that it starts."""
    starts_saga: bool = False
    body: str = ""
    response_body: str = ""
    max_body_bytes: int = MAX_BODY_BYTES
    event: str = ""
    """The event of the saga `target` that it brings, or `cancel`; such a route starts no saga."""
    access: Access | None = None
    """Which callers it takes; None: the contract has no `security`, and the hook of gateway/app.py decides."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one gateway takes on at once; what is beyond is refused early, and what was accepted still finishes."""

    max_running: int = 10_000
    """Sagas under way. Replays of their requests, and waits for them, are no new ones."""
    max_waiting_sagas: int = 1_000_000
    """Sagas that only wait, for an event or for time to pass. No saga that runs is refused its wait."""
    max_waiting: int = 1_000
    """Requests that wait for a service to answer, outside of any saga."""
    calls_per_service: int = 64
    """Calls of sagas under way to one service: twice a group of its writer, so that one group is filled while another
    commits, and well below where a service begins to turn calls away. More wait for their turn."""
    max_connections: int = 2_000
    """Of HTTP clients to one gateway."""
    max_connections_per_address: int = 200
    """Of these from one address that is no trusted proxy."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """Everything that was generated for a project."""

    project: str
    services: tuple[Service, ...]
    sagas: tuple[Saga, ...]
    """Every version that is kept; the newest of a name takes new sagas."""
    routes: tuple[Route, ...]
    descriptors: Path
    """Serialized FileDescriptorSet of the contract and its imports."""
    root: Path
    """The project's root folder."""
    limits: Limits = Limits()
    security: Security | None = None

    @property
    def default_claims(self) -> Mapping[str, ClaimValue]:
        """Each claim that the contract names, with its type's default; empty without `security`."""
        return self.security.default_claims if self.security else _NO_CLAIMS
