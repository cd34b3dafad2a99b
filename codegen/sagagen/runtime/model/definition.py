"""What the contract says, as data: generated code builds these values, and engine, services and edge read them.

Durations are seconds. Everything here is immutable and made once, at import.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from betterproto2 import Message
from grpclib.const import Status as Code

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
class Step:
    name: str
    kind: StepKind
    action: Action
    compensation: Action | None = None


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
    steps: tuple[Step, ...]

    @property
    def first_step(self) -> Step:
        return self.steps[0]


def longest_timeout_s(saga: Saga) -> float:
    """How long an attempt of one of its calls may take."""
    actions = [action for step in saga.steps for action in (step.action, step.compensation) if action]
    return max(action.timeout_s for action in actions)


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


@dataclass(frozen=True, slots=True)
class Limits:
    """What one gateway takes on at once; what is beyond is refused early, and what was accepted still finishes."""

    max_running: int = 10_000
    """Sagas under way. Replays of their requests, and waits for them, are no new ones."""
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
