"""The shape of saga.yaml: its keys, what they hold, which may be left out. Also the source of its JSON schema."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from sagagen.contract.element_shape import ElementShape
from sagagen.contract.known_keys import Shape, Whole, Word, optional
from sagagen.contract.policy_shape import PolicyShape
from sagagen.contract.security_shape import SecurityShape
from sagagen.contract.words import (
    AnyKey,
    Date,
    Duration,
    DurationOrExpression,
    Expression,
    Expressions,
    Flag,
    NameKey,
    ProjectName,
    Reason,
    ServiceName,
    Size,
    Text,
    TriggerName,
    whole,
    words,
)
from sagagen.runtime.model.definition import ISOLATION

REPLICAS = 2
"""So that one may be away, and be changed, while the other serves."""


class MethodShape(Shape):
    """Settings of one rpc."""

    transaction: Annotated[Word, words("local", "manual")] | None = optional(
        "What opens the local transaction: the runtime, around the handler (local), "
        "or the handler itself, near its end (manual), for methods that call a third party.",
        "local",
    )
    read: Flag | None = optional(
        "Whether the rpc only reads: a read bypasses the barrier, and may have a GET route. "
        "Default: what the proto says (idempotency_level = NO_SIDE_EFFECTS).",
        example=True,
    )


class ServiceShape(Shape):
    """A service of the mesh: one process, one database, one handler file."""

    implements: Annotated[list[ServiceName], Field(json_schema_extra={"minItems": 1})] = Field(
        description="Full names of the proto services that it implements.",
        examples=[["shop.order.v1.OrderService"]],
    )
    methods: dict[AnyKey, MethodShape] = Field(
        default_factory=dict,
        description="Settings of individual rpcs, by rpc name.",
        examples=[{"ChargePayment": {"transaction": "manual"}, "GetRates": {"read": True}}],
    )
    retention: Duration | None = optional(
        "How long it remembers calls, so that a repeated call is answered and not done again.", "30d"
    )
    callers: list[Text] | None = optional(
        "Its callers: names of services, or gateway, which makes the calls of sagas and routes. "
        "It is held against the certificates of the mesh.",
        ["gateway"],
        example=["gateway", "order"],
    )
    replicas: Annotated[Whole, whole(1, 1_000)] | None = optional(
        "Processes that a stack starts for it where its database is PostgreSQL, for which it needs "
        "handlers/<service>.postgres.sql. On SQLite it has one, since that is one file with one owner.",
        REPLICAS,
    )
    isolation: Annotated[Word, words("read_committed", "repeatable_read", "serializable")] | None = optional(
        "Of its transactions, where SAGAGEN_<SERVICE>_DATABASE_URL names a PostgreSQL database: repeatable_read loses "
        "no update, serializable excludes write skew too, read_committed does neither. SQLite is always serializable.",
        ISOLATION,
    )


class DefaultsShape(Shape):
    """Settings for steps and compensations that have none of their own."""

    step: PolicyShape | None = optional("For steps before the pivot, and the pivot.")
    compensation: PolicyShape | None = optional("For compensations and retriable steps.")


class IdempotencyShape(Shape):
    """What a repeated request gets."""

    key: Annotated[Word, words("required", "optional")] | None = optional(
        "Whether the caller must send an Idempotency-Key.", "required"
    )
    on_concurrent: Annotated[Word, words("conflict", "wait")] | None = optional(
        "What happens to a duplicate while the first request is unfinished: it gets 409 (conflict), or it waits.",
        "conflict",
    )
    retention: Duration | None = optional("How long answers are kept for replay.", "30d")


class RespondShape(Shape):
    """When and with what the HTTP request that started the saga is answered."""

    after: Text | None = optional("The name of a step, `completion` or `acceptance`.", "completion")
    status: Annotated[Whole, whole(200, 299)] | None = optional("HTTP status.", 200)
    wait: Duration | None = optional("How long the request waits before it gets 202 and a Location.", "10s")
    body: Expressions | None = optional(
        "Fields of the trigger's response message.", example={"order": "steps.create_order.order"}
    )


class EventRespondShape(Shape):
    """With what the HTTP request that brought the event is answered."""

    body: Expressions | None = optional(
        "Fields of the rpc's response message, over event, input, caller and saga.",
        example={"order_id": "saga.id"},
    )


class EventShape(Shape):
    """An rpc that no service implements: its call is kept by the saga, and ends a wait."""

    rpc: TriggerName = Field(
        description="package.Service/Method; it needs an HTTP route.",
        examples=["delivery.restaurant.v1.TabletService/AnswerTicket"],
    )
    saga_id: Expression = Field(
        description="Which saga it is for: an expression over event and caller.", examples=["event.order_id"]
    )
    allow: Expression | None = optional(
        "Who may send it: a condition over event, input, caller and saga; else 403. Default: anybody.",
        example="caller == input.restaurant_id",
    )
    respond: EventRespondShape | None = optional("With what it is answered. Default: an empty message.")


class CancelShape(Shape):
    """An rpc that no service implements: its call turns the saga back, as long as the pivot was not attempted."""

    rpc: TriggerName = Field(
        description="package.Service/Method; it needs an HTTP route.",
        examples=["delivery.ordering.v1.OrderingService/CancelOrder"],
    )
    saga_id: Expression = Field(
        description="Which saga it is for: an expression over event and caller.", examples=["event.order_id"]
    )
    reason: Reason | None = optional("What failure.reason is then.", "CANCELLED")
    allow: Expression | None = optional(
        "Who may cancel: a condition over event, input, caller and saga; else 403. "
        "Default: whoever started the saga.",
        example="event.customer_id == input.customer_id",
    )


class StartShape(Shape):
    """When a saga starts that does not start at once: after or at."""

    after: DurationOrExpression | None = optional(
        "A duration, or an expression over the input of the type google.protobuf.Duration.", example="5m"
    )
    at: Expression | None = optional(
        "An expression over the input of the type google.protobuf.Timestamp; unset or past: at once.",
        example="input.deliver_at",
    )
    at_most: Duration | None = optional("A request that asks for a later start is refused with 400.", "30d")


class SagaShape(Shape):
    """Local transactions that all complete, or are compensated."""

    version: Annotated[Whole, whole(1, 1_000_000)] | None = optional(
        "To be raised with each breaking change (`sagagen bump`).", 1
    )
    trigger: TriggerName = Field(
        description="package.Service/Method: the rpc whose call starts the saga. No service implements it.",
        examples=["shop.checkout.v1.CheckoutService/PlaceOrder"],
    )
    idempotency: IdempotencyShape | None = optional("What a repeated request gets.")
    deadline: Duration | None = optional(
        "How long the saga may go forward, up to its pivot; then it turns back.", "60s"
    )
    start: StartShape | None = optional("When it starts. Default: at once.", example={"after": "5m"})
    index: dict[NameKey, Expression] | None = optional(
        "Values by which its instances are found (`sagagen sagas list --where`): a text, an integer, a bool or an "
        "enum, over input, caller and saga.",
        example={"customer": "caller", "total": "input.total_minor"},
    )
    subject: Expression | None = optional(
        "The person whose data an instance holds: a text, over input, caller and saga. With encryption on, "
        "`sagagen forget` erases all that is kept of them.",
        example="input.customer_id",
    )
    respond: RespondShape | None = optional(
        "When and with what the request that started the saga is answered."
    )
    events: dict[NameKey, EventShape] | None = optional("What may come from outside while it runs, by name.")
    cancel: CancelShape | None = optional("The rpc by which a client turns it back.")
    steps: Annotated[list[ElementShape], Field(json_schema_extra={"minItems": 1})] = Field(
        description="Its calls, waits, delays and parallel blocks, in order."
    )


class LimitsShape(Shape):
    """How much one gateway does at once, and how much it reads; anything more is refused early, with 503 or 413."""

    max_running: Annotated[Whole, whole(1, 1_000_000)] | None = optional("Active sagas.", 10_000)
    max_waiting_sagas: Annotated[Whole, whole(1, 1_000_000_000)] | None = optional(
        "Sagas that only wait, for an event or for time to pass. Beyond it no saga that may wait is accepted.",
        1_000_000,
    )
    max_waiting: Annotated[Whole, whole(1, 1_000_000)] | None = optional(
        "Requests outside of sagas that wait for a service.", 1_000
    )
    calls_per_service: Annotated[Whole, whole(1, 1024)] | None = optional(
        "Unfinished calls of sagas to one service; more calls wait.", 64
    )
    max_connections: Annotated[Whole, whole(1, 1_000_000)] | None = optional(
        "Connections of HTTP clients.", 2_000
    )
    max_connections_per_address: Annotated[Whole, whole(1, 1_000_000)] | None = optional(
        "Connections from one address that SAGAGEN_TRUSTED_PROXIES does not name.", 200
    )
    body: dict[AnyKey, Size] | None = optional(
        "How large the body of an HTTP request may be, by rpc; `default` is for all others, and 64KiB without it. "
        "A larger one is refused with 413. No route takes more than 1MiB.",
        example={"default": "16KiB", "shop.checkout.v1.CheckoutService/PlaceOrder": "256KiB"},
    )


class WaiverShape(Shape):
    """A finding of `sagagen diff` that is accepted for a while."""

    rule: Text = Field(
        description="Code of the rule, or the name of a rule of buf.", examples=["SD506", "FIELD_NO_DELETE"]
    )
    at: Text | None = optional(
        "What the finding is about, as the diff names it. Default: anything.", example="place_order"
    )
    reason: Text = Field(description="Why it is accepted, for readers of the diff.")
    until: Date = Field(description="The last day on which the waiver is valid.", examples=["2026-12-31"])


class SagaFile(Shape):
    """A project's sagas, and the services that take part in them."""

    version: Annotated[Word, words("v1")] = Field(description="Version of this file's language.")
    project: ProjectName = Field(description="Part of every saga id.", examples=["shop"])
    services: dict[NameKey, ServiceShape] = Field(
        description="The services of the mesh. Their ports are 50051, 50052, ..., in this order."
    )
    defaults: DefaultsShape | None = optional(
        "Settings for steps and compensations that have none of their own."
    )
    limits: LimitsShape | None = optional(
        "How much one gateway does at once; anything more is refused early with 503."
    )
    sagas: dict[NameKey, SagaShape] = Field(description="The sagas, by name.")
    security: SecurityShape | None = optional(
        "Who may call what. none: the contract leaves that to something in front of the gateway, or its hook.",
        example="none",
    )
    waivers: list[WaiverShape] | None = optional(
        "Accepted findings of `sagagen diff`, each with a reason and a last day."
    )


class _EditorSchema(GenerateJsonSchema):
    """An optional key may be left out, but its value is never null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        return {**made, "additionalProperties": False} if "patternProperties" in made else made

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@cache
def saga_schema() -> Mapping[str, Any]:
    """The JSON schema of saga.yaml, for editors (`# yaml-language-server: $schema=...`)."""
    schema = SagaFile.model_json_schema(schema_generator=_EditorSchema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "saga.yaml"}
