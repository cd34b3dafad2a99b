"""The resolved contract: frozen, typed, with every name bound. Strings end here.

Messages, fields, enums and rpcs are protobuf descriptors (immutable and fully linked); what saga.yaml says about them
stands beside them in the dataclasses below. Durations are seconds, as `_s` says.
"""

import datetime
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor

from sagagen.contract.security_model import Access, Security
from sagagen.expression import ListExpr, MessageExpr, ValueExpr
from sagagen.python_names import PythonNames
from sagagen.runtime.model.definition import (
    AT_ACCEPTANCE,
    LATEST_START_S,
    WAIT_TIMED_OUT,
    Isolation,
    Limits,
    Retry,
    StepKind,
    Transaction,
)
from sagagen.source import Span


@dataclass(frozen=True, slots=True)
class Method:
    """An rpc that a service of the mesh implements."""

    descriptor: MethodDescriptor
    is_read: bool
    """Marked `idempotency_level = NO_SIDE_EFFECTS`, or `read: true` in saga.yaml: it bypasses the barrier."""
    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the mesh: one process, one database, one handler file. May implement several proto services."""

    name: str
    port: int
    """50051 for the first in saga.yaml, then counting up."""
    implements: tuple[ServiceDescriptor, ...]
    methods: tuple[Method, ...]
    """In the order of `implements`, then of the proto."""
    retention_s: float
    """How long its barrier remembers calls."""
    retention_span: Span
    """Where that is written; otherwise where the service's name is."""
    isolation: Isolation
    """Of its transactions, where its database is PostgreSQL."""
    replicas: int
    """Processes that a stack starts for it where its database is PostgreSQL; on SQLite there is always one."""
    has_postgres_sql: bool
    """handlers/<name>.postgres.sql is there: it can be on PostgreSQL."""
    callers: tuple[str, ...]
    """Its callers: names of services, or `gateway`."""
    callers_span: Span
    """Where that is written; otherwise where the service's name is."""
    span: Span

    def method(self, descriptor: MethodDescriptor) -> Method:
        """Of a unary rpc that it implements."""
        return next(method for method in self.methods if method.descriptor is descriptor)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a step or compensation: which method, with what request, how long and how often."""

    service: Service
    method: Method
    request: MessageExpr
    timeout_s: float
    retry: Retry
    span: Span


@dataclass(frozen=True, slots=True)
class ForEach:
    """Repeats a step, once for each item of a list."""

    variable: str
    items: ListExpr
    key: ValueExpr | None
    """None: an item's key is its number, from 0."""
    at_once: int
    max_items: int


@dataclass(frozen=True, slots=True)
class Step:
    """An element that makes a call."""

    name: str
    kind: StepKind
    action: Call
    compensation: Call | None
    """None for reads, `compensate: none`, the pivot and retriable steps."""
    span: Span
    when: ValueExpr | None = None
    for_each: ForEach | None = None
    gives_up: bool = False
    """`on_give_up: continue`."""


@dataclass(frozen=True, slots=True)
class Decline:
    """When an event is a refusal."""

    when: ValueExpr
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """An element that waits for an event from outside."""

    name: str
    kind: StepKind
    event: str
    within_s: float | None
    """None: until the saga's deadline."""
    span: Span
    decline: Decline | None = None
    on_timeout: str | None = WAIT_TIMED_OUT
    """The reason with which the saga turns back; None: it goes on."""
    when: ValueExpr | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """An element that lets time pass. Exactly one of `after_s`, `after` and `at` is set."""

    name: str
    kind: StepKind
    span: Span
    after_s: float | None = None
    after: ValueExpr | None = None
    at: ValueExpr | None = None
    at_most_s: float | None = None
    when: ValueExpr | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    name: str
    steps: "tuple[Element, ...]"
    span: Span


@dataclass(frozen=True, slots=True)
class Parallel:
    """Branches that begin together; the block is settled when each of them is."""

    name: str
    kind: StepKind
    branches: tuple[Branch, ...]
    span: Span
    when: ValueExpr | None = None


Element = Step | Wait | Delay | Parallel
"""What stands in a list of steps."""


def leaves(elements: Iterable[Element]) -> Iterator[Step | Wait | Delay]:
    """Elements and what stands in their branches, blocks apart, in the order of the file."""
    for element in elements:
        if isinstance(element, Parallel):
            for branch in element.branches:
                yield from leaves(branch.steps)
        else:
            yield element


@dataclass(frozen=True, slots=True)
class Event:
    """An rpc that no service implements: its call is kept in the saga's log, and ends a wait."""

    name: str
    rpc: MethodDescriptor
    saga_id: ValueExpr
    allow: ValueExpr | None
    """None: anybody who may call the gateway."""
    body: MessageExpr | None
    """Builds the response; None answers its default."""
    span: Span


@dataclass(frozen=True, slots=True)
class Cancel:
    """An rpc that no service implements: its call turns the saga back, as long as the pivot was not attempted."""

    rpc: MethodDescriptor
    saga_id: ValueExpr
    reason: str
    allow: ValueExpr | None
    """None: whoever started the saga."""
    span: Span


@dataclass(frozen=True, slots=True)
class Start:
    """A saga that starts later than it is accepted. Exactly one of `after_s`, `after` and `at` is set."""

    span: Span
    after_s: float | None = None
    after: ValueExpr | None = None
    at: ValueExpr | None = None
    at_most_s: float = LATEST_START_S


@dataclass(frozen=True, slots=True)
class IndexValue:
    """A value by which sagas can be found."""

    name: str
    value: ValueExpr
    span: Span


@dataclass(frozen=True, slots=True)
class Respond:
    """When and with what the HTTP request that started the saga is answered."""

    after: str
    """A step's name, `completion` or `acceptance`."""
    status: int
    wait_s: float
    body: MessageExpr | None
    """Builds the trigger's response message; None answers its default."""

    @property
    def is_known_at_once(self) -> bool:
        """The first answer, at acceptance, has the body already, since it reads no step."""
        return self.after == AT_ACCEPTANCE and self.body is not None and not self.body.steps_read


@dataclass(frozen=True, slots=True)
class Saga:
    name: str
    version: int
    trigger: MethodDescriptor
    key: Literal["required", "optional"]
    on_concurrent: Literal["conflict", "wait"]
    retention_s: float
    deadline_s: float
    respond: Respond
    steps: tuple[Element, ...]
    digest: str
    """Hex SHA-256 of what a running saga relies on: steps, calls, requests, answer; but not spelling or timing."""
    span: Span
    events: tuple[Event, ...] = ()
    cancel: Cancel | None = None
    start: Start | None = None
    index: tuple[IndexValue, ...] = ()
    subject: ValueExpr | None = None
    """The person whose data it holds: a text."""

    @property
    def calls(self) -> tuple[Step, ...]:
        """The steps that make calls, those in branches included, in the order of the file."""
        return tuple(leaf for leaf in leaves(self.steps) if isinstance(leaf, Step))


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP binding of an rpc (google.api.http, additional bindings apart)."""

    verb: Literal["GET", "PUT", "POST", "DELETE", "PATCH"]
    template: str
    """As in the proto, for example `/orders/{order_id}`."""
    body: str
    """`*`, a field's name, or empty."""
    response_body: str
    """A field's name, or empty for the whole message."""
    method: MethodDescriptor
    target: Service | Saga
    max_body_bytes: int
    place: Callable[[], Span] = field(compare=False, repr=False)
    """Finds its place, which is slow and seldom needed."""
    event: str = ""
    """Of a route to a saga: the event that it brings, or `cancel`; empty: it starts the saga."""
    access: Access | None = None
    """Which callers it takes; None: the contract has no `security`."""

    @property
    def starts(self) -> Saga | None:
        """The saga that it starts."""
        return self.target if isinstance(self.target, Saga) and not self.event else None

    @property
    def span(self) -> Span:
        return self.place()


@dataclass(frozen=True, slots=True)
class Waiver:
    """A finding of the contract diff that is accepted until a given day."""

    rule: str
    """`SD201`, or a rule of buf's."""
    at: str
    """What it is about, as the diff names it: `place_order/charge_payment`. Empty for anything."""
    reason: str
    until: datetime.date
    """The last day on which it is valid."""
    span: Span


@dataclass(frozen=True)
class Mesh:
    """The whole contract of a project."""

    project: str
    sources: tuple[str, ...]
    """The contract's own files, relative to the project root, sorted; saga.yaml last."""
    descriptors: bytes
    """Serialized FileDescriptorSet: own files and imports, in dependency order, without source info."""
    files: tuple[FileDescriptor, ...]
    """The contract's own proto files, sorted by path."""
    digests: MappingOf[str, str]
    """Digests of the files of the contract, including imports: protos by the name that imports use, older versions of
    sagas by path, and saga.yaml without its sagas."""
    saga_digests: MappingOf[str, str]
    """Digests of what saga.yaml says about each saga, by name."""
    docs: MappingOf[str, str]
    """Full name (`shop.order.v1.Order.status`) -> its leading comment, dedented."""
    names: PythonNames
    services: tuple[Service, ...]
    sagas: tuple[Saga, ...]
    """The version of each saga that new instances use."""
    kept: tuple[Saga, ...]
    """Older versions, by name and version, on which their open instances end."""
    routes: tuple[Route, ...]
    limits: Limits
    waivers: tuple[Waiver, ...]
    span: Callable[[str], Span]
    """Full name of a proto element -> its place, in the contract's own files."""
    security: Security | None = None
    """None: the contract has no such section, or says `none`."""
    is_security_unsaid: bool = False
    """Whether the contract says nothing of it at all, not even `none`."""

    @cached_property
    def own_files(self) -> frozenset[str]:
        """The names, as they are imported, of the contract's own proto files."""
        return frozenset(file.name for file in self.files)

    @cached_property
    def routes_to(self) -> MappingOf[MethodDescriptor, tuple[Route, ...]]:
        """The bindings of each rpc that has any."""
        found: dict[MethodDescriptor, tuple[Route, ...]] = {}
        for route in self.routes:
            found[route.method] = (*found.get(route.method, ()), route)
        return found
