"""The shape of saga.yaml: its keys, what they hold, which may be left out. Also the source of its JSON schema."""

from collections.abc import Iterable
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationInfo, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from sagagen.contract.codes import Code
from sagagen.contract.findings import error
from sagagen.contract.located import Block, Key, Located, text_scalar
from sagagen.contract.words import (
    GRPC_CODES,
    AnyKey,
    CallName,
    Date,
    Duration,
    Expressions,
    Factor,
    Flag,
    Name,
    NameKey,
    ProjectName,
    ServiceName,
    Size,
    Text,
    TriggerName,
    whole,
    words,
)
from sagagen.diagnostics import Report, did_you_mean
from sagagen.source import Scalar

Word = Located[str]
Whole = Located[int]
REQUEST = "Fields of the request message, as expressions; or one expression for the whole message."


def _field(description: str, default: Any = None, *, example: Any = None) -> Any:
    """An optional key. `default` applies without it: editors show it, and the code that reads the shape fills it in."""
    extra: dict[str, Any] = {"default": default} if default is not None else {}
    return Field(
        default=None,
        description=description,
        json_schema_extra=extra,
        examples=None if example is None else [example],
    )


class Shape(BaseModel):
    """A mapping with known keys. Validate it with a `Report` as context: unknown keys go there."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _report_unknown_keys(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, Block):
            report = cast(Report, info.context)
            for key in [key for key in value if key not in cls.model_fields]:
                _settle_unknown_key(value, key, cls.model_fields, report)
        return value


def _settle_unknown_key(block: Block, key: str, known: Iterable[str], report: Report) -> None:
    """Go on as if the near miss had been spelled right, so that it hides no mistake and causes no other."""
    assert isinstance(key, Key)
    missing = [name for name in known if name not in block]
    close = did_you_mean(key, missing)
    meant = next((name for name in missing if close == f'did you mean "{name}"?'), None)
    hint = close if meant is not None else f"remove it; the keys here are {', '.join(known)}"
    report(error(key.span, Code.UNKNOWN_KEY, f'there is no key "{key}" here', hint))
    value = block.pop(key)
    if meant is not None:
        block[Key(text_scalar(meant, key.span))] = value


class MethodShape(Shape):
    """Settings of one rpc."""

    transaction: Annotated[Word, words("local", "manual")] | None = _field(
        "What opens the local transaction: the runtime, around the handler (local), "
        "or the handler itself, near its end (manual), for methods that call a third party.",
        "local",
    )
    read: Flag | None = _field(
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
    retention: Duration | None = _field(
        "How long it remembers calls, so that a repeated call is answered and not done again.", "30d"
    )
    replicas: Annotated[Whole, whole(1, 1_000)] | None = _field(
        "Processes that serve it: one, since its database is one SQLite file with one owner.", 1
    )


class RetryShape(Shape):
    """Capped exponential backoff with full jitter."""

    initial: Duration | None = _field(
        "Longest wait before the second attempt. Default: 50ms for steps, 100ms for compensations.",
        example="50ms",
    )
    multiplier: Factor | None = _field("The factor by which the longest wait grows with each attempt.", 2)
    max: Duration | None = _field(
        "The wait never exceeds this. Default: 2s for steps, 30s for compensations.", example="2s"
    )
    max_attempts: Annotated[Whole, whole(1, 1000)] | None = _field(
        "Fail after this many attempts. By default a step is retried until the saga's deadline.", example=5
    )
    give_up_after: Duration | None = _field(
        "For compensations, pivots and retriable steps: how long after the first failure the saga is STUCK. "
        "Default: 24h; of a pivot, what defaults.compensation says.",
        example="24h",
    )
    codes: list[Annotated[Word, words(*GRPC_CODES)]] | None = _field(
        "Retry only these gRPC codes.", example=["UNAVAILABLE", "DEADLINE_EXCEEDED"]
    )


class PolicyShape(Shape):
    """How long a call may take, and how it is repeated."""

    timeout: Duration | None = _field(
        "Longest time of one attempt. Default: 2s for steps, 5s for compensations.", example="2s"
    )
    retry: RetryShape | None = _field("How it is repeated.")


class DefaultsShape(Shape):
    """Settings for steps and compensations that have none of their own."""

    step: PolicyShape | None = _field("For steps before the pivot, and the pivot.")
    compensation: PolicyShape | None = _field("For compensations and retriable steps.")


class IdempotencyShape(Shape):
    """What a repeated request gets."""

    key: Annotated[Word, words("required", "optional")] | None = _field(
        "Whether the caller must send an Idempotency-Key.", "required"
    )
    on_concurrent: Annotated[Word, words("conflict", "wait")] | None = _field(
        "What happens to a duplicate while the first request is unfinished: it gets 409 (conflict), or it waits.",
        "conflict",
    )
    retention: Duration | None = _field("How long answers are kept for replay.", "30d")


class RespondShape(Shape):
    """When and with what the HTTP request that started the saga is answered."""

    after: Text | None = _field("The name of a step, `completion` or `acceptance`.", "completion")
    status: Annotated[Whole, whole(200, 299)] | None = _field("HTTP status.", 200)
    wait: Duration | None = _field("How long the request waits before it gets 202 and a Location.", "10s")
    body: Expressions | None = _field(
        "Fields of the trigger's response message.", example={"order": "steps.create_order.order"}
    )


class CompensateShape(PolicyShape):
    """The call that undoes what the step did."""

    call: CallName = Field(
        description="service/Method, of the service that the step calls.", examples=["order/CancelOrder"]
    )
    request: Expressions | None = _field(REQUEST, example={"order_id": "saga.id", "reason": "failure.reason"})


def _compensate_kind(value: object) -> str:
    return "<word>" if isinstance(value, Scalar) else "<call>"


COMPENSATE_KINDS = frozenset({"<word>", "<call>"})
"""Pydantic puts these into the path of an error; they are not keys."""


def _only_compensatable_steps_are_undone(schema: dict[str, Any]) -> None:
    schema["if"] = {"properties": {"kind": {"enum": ["pivot", "retriable"]}}, "required": ["kind"]}
    schema["then"] = {"properties": {"compensate": {"enum": ["none"]}}}


class StepShape(PolicyShape):
    """One call of the saga."""

    model_config = ConfigDict(json_schema_extra=_only_compensatable_steps_are_undone)

    name: Name = Field(
        description="Unique in the saga; `steps.<name>` reads its response.", examples=["create_order"]
    )
    call: CallName = Field(description="service/Method", examples=["order/CreateOrder"])
    kind: Annotated[Word, words("compensatable", "pivot", "retriable")] | None = _field(
        "compensatable: undone if the saga turns back. pivot: the go/no-go step, at most one. "
        "retriable: after the pivot; repeated until it is done.",
        "compensatable",
    )
    request: Expressions | None = _field(
        REQUEST, example={"order_id": "saga.id", "customer_id": "input.customer_id"}
    )
    compensate: (
        Annotated[
            Annotated[Word, words("none"), Tag("<word>")] | Annotated[CompensateShape, Tag("<call>")],
            Discriminator(_compensate_kind),
        ]
        | None
    ) = _field(
        "The call that undoes this step, or none if there is nothing to undo.",
        example={"call": "order/CancelOrder", "request": {"order_id": "saga.id"}},
    )


class SagaShape(Shape):
    """Local transactions that all complete, or are compensated."""

    version: Annotated[Whole, whole(1, 1_000_000)] | None = _field(
        "To be raised with each breaking change (`sagagen bump`).", 1
    )
    trigger: TriggerName = Field(
        description="package.Service/Method: the rpc whose call starts the saga. No service implements it.",
        examples=["shop.checkout.v1.CheckoutService/PlaceOrder"],
    )
    idempotency: IdempotencyShape | None = _field("What a repeated request gets.")
    deadline: Duration | None = _field(
        "How long the saga may go forward, up to its pivot; then it turns back.", "60s"
    )
    respond: RespondShape | None = _field("When and with what the request that started the saga is answered.")
    steps: Annotated[list[StepShape], Field(json_schema_extra={"minItems": 1})] = Field(
        description="Its calls, in order."
    )


class LimitsShape(Shape):
    """How much one gateway does at once, and how much it reads; anything more is refused early, with 503 or 413."""

    max_running: Annotated[Whole, whole(1, 1_000_000)] | None = _field("Active sagas.", 10_000)
    max_waiting: Annotated[Whole, whole(1, 1_000_000)] | None = _field(
        "Requests outside of sagas that wait for a service.", 1_000
    )
    calls_per_service: Annotated[Whole, whole(1, 1024)] | None = _field(
        "Unfinished calls of sagas to one service; more calls wait.", 64
    )
    max_connections: Annotated[Whole, whole(1, 1_000_000)] | None = _field(
        "Connections of HTTP clients.", 2_000
    )
    max_connections_per_address: Annotated[Whole, whole(1, 1_000_000)] | None = _field(
        "Connections from one address that SAGAGEN_TRUSTED_PROXIES does not name.", 200
    )
    body: dict[AnyKey, Size] | None = _field(
        "How large the body of an HTTP request may be, by rpc; `default` is for all others, and 64KiB without it. "
        "A larger one is refused with 413. No route takes more than 1MiB.",
        example={"default": "16KiB", "shop.checkout.v1.CheckoutService/PlaceOrder": "256KiB"},
    )


class WaiverShape(Shape):
    """A finding of `sagagen diff` that is accepted for a while."""

    rule: Text = Field(
        description="Code of the rule, or the name of a rule of buf.", examples=["SD506", "FIELD_NO_DELETE"]
    )
    at: Text | None = _field(
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
    defaults: DefaultsShape | None = _field(
        "Settings for steps and compensations that have none of their own."
    )
    limits: LimitsShape | None = _field(
        "How much one gateway does at once; anything more is refused early with 503."
    )
    sagas: dict[NameKey, SagaShape] = Field(description="The sagas, by name.")
    waivers: list[WaiverShape] | None = _field(
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


def saga_schema() -> dict[str, Any]:
    """The JSON schema of saga.yaml, for editors (`# yaml-language-server: $schema=...`)."""
    schema = SagaFile.model_json_schema(schema_generator=_EditorSchema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "saga.yaml"}
