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
    Duration,
    Expressions,
    Factor,
    Name,
    NameKey,
    ProjectName,
    Text,
    whole,
    words,
)
from sagagen.diagnostics import Report, did_you_mean
from sagagen.source import Scalar

Word = Located[str]
Whole = Located[int]


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
    """Go on as if the near miss had been written right, so that it hides nothing and causes nothing else."""
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
    transaction: Annotated[Word, words("local", "manual")] = Field(
        description="Who opens the local transaction: the runtime around the handler (local), "
        "or the handler near its end (manual), for methods that call a third party."
    )


class ServiceShape(Shape):
    """A service of the mesh: one process, one database, one handler file."""

    implements: list[Text] = Field(description="Full names of the proto services that it implements.")
    methods: dict[AnyKey, MethodShape] = Field(
        default_factory=dict, description="Settings of single rpcs, by rpc name."
    )
    retention: Duration | None = Field(
        default=None,
        description="How long it remembers calls, so that a repeat is answered and not done again. Default: 30d.",
    )


class RetryShape(Shape):
    """Capped exponential backoff with full jitter."""

    initial: Duration | None = Field(
        default=None, description="Upper bound of the wait before the second attempt."
    )
    multiplier: Factor | None = Field(
        default=None, description="By how much the bound grows with each attempt."
    )
    max: Duration | None = Field(default=None, description="The bound grows no further than this.")
    max_attempts: Annotated[Whole, whole(1, 1000)] | None = Field(
        default=None,
        description="Fail fast after so many attempts. By default a step is retried until the saga's deadline.",
    )
    give_up_after: Duration | None = Field(
        default=None,
        description="Compensations and retriable steps: how long after the first failure the saga is STUCK.",
    )
    codes: list[Annotated[Word, words(*GRPC_CODES)]] | None = Field(
        default=None, description="Retry only these gRPC codes."
    )


class PolicyShape(Shape):
    """How long a call may take, and how it is repeated."""

    timeout: Duration | None = Field(default=None, description="Of one attempt.")
    retry: RetryShape | None = None


class DefaultsShape(Shape):
    step: PolicyShape | None = Field(default=None, description="For steps before the pivot, and the pivot.")
    compensation: PolicyShape | None = Field(
        default=None, description="For compensations and retriable steps."
    )


class IdempotencyShape(Shape):
    key: Annotated[Word, words("required", "optional")] | None = Field(
        default=None, description="Whether the caller must send an Idempotency-Key. Default: required."
    )
    on_concurrent: Annotated[Word, words("conflict", "wait")] | None = Field(
        default=None,
        description="What a duplicate gets while the first is under way: 409, or it waits. Default: conflict.",
    )
    retention: Duration | None = Field(
        default=None, description="How long answers are kept for replay. Default: 30d."
    )


class RespondShape(Shape):
    """When and with what the HTTP request that started the saga is answered."""

    after: Text | None = Field(default=None, description="A step, `completion` (default) or `acceptance`.")
    status: Annotated[Whole, whole(200, 299)] | None = Field(
        default=None, description="HTTP status. Default: 200."
    )
    wait: Duration | None = Field(
        default=None, description="After this the answer is 202 and a Location. Default: 10s."
    )
    body: Expressions | None = Field(default=None, description="Fields of the trigger's response message.")


class CompensateShape(PolicyShape):
    """The call that undoes what the step did."""

    call: Text = Field(description="service/Method")
    request: Expressions | None = Field(default=None, description="Fields of the request message.")


def _compensate_kind(value: object) -> str:
    return "<word>" if isinstance(value, Scalar) else "<call>"


COMPENSATE_KINDS = frozenset({"<word>", "<call>"})
"""Pydantic puts these into the path of an error; they are no keys."""


class StepShape(PolicyShape):
    name: Name = Field(description="Unique in the saga; `steps.<name>` reads its response.")
    call: Text = Field(description="service/Method")
    kind: Annotated[Word, words("compensatable", "pivot", "retriable")] | None = Field(
        default=None,
        description="compensatable (default): undone if the saga turns back. pivot: the go/no-go step, at most one. "
        "retriable: after the pivot, repeated until it is done.",
    )
    request: Expressions | None = Field(default=None, description="Fields of the request message.")
    compensate: (
        Annotated[
            Annotated[Word, words("none"), Tag("<word>")] | Annotated[CompensateShape, Tag("<call>")],
            Discriminator(_compensate_kind),
        ]
        | None
    ) = Field(
        default=None, description="The call that undoes this step, or none if there is nothing to undo."
    )


class SagaShape(Shape):
    version: Annotated[Whole, whole(1, 1_000_000)] | None = Field(
        default=None, description="Raised by each breaking change. Default: 1."
    )
    trigger: Text = Field(description="package.Service/Method: the rpc whose call starts the saga.")
    idempotency: IdempotencyShape | None = None
    deadline: Duration | None = Field(default=None, description="For forward work only. Default: 60s.")
    respond: RespondShape | None = None
    steps: list[StepShape]


class LimitsShape(Shape):
    """What one gateway takes on at once; more is refused early with 503 and Retry-After."""

    max_running: Annotated[Whole, whole(1, 1_000_000)] | None = Field(
        default=None, description="Sagas under way. Default: 10000."
    )
    max_waiting: Annotated[Whole, whole(1, 1_000_000)] | None = Field(
        default=None, description="Requests outside of sagas that wait for a service. Default: 1000."
    )
    calls_per_service: Annotated[Whole, whole(1, 1024)] | None = Field(
        default=None, description="Calls of sagas under way to one service; more wait. Default: 64."
    )


class WaiverShape(Shape):
    """A finding of `sagagen diff` that is accepted for a while."""

    rule: Text = Field(description="Code of the rule, SD201 for example, or the name of a rule of buf.")
    at: Text | None = Field(
        default=None, description="What it is about, as the diff names it; by default whatever it is about."
    )
    reason: Text = Field(description="Why it is accepted: for who reads the diff.")
    until: Text = Field(description="The last day on which it holds: 2026-12-31.")


class SagaFile(Shape):
    """A project's sagas, and the services that take part in them."""

    version: Annotated[Word, words("v1")] = Field(description="Of this file's language.")
    project: ProjectName = Field(description="Part of every saga id.")
    services: dict[NameKey, ServiceShape] = Field(
        description="The services of the mesh, in this order on ports 50051, 50052, ..."
    )
    defaults: DefaultsShape | None = None
    limits: LimitsShape | None = None
    sagas: dict[NameKey, SagaShape]
    waivers: list[WaiverShape] | None = Field(
        default=None,
        description="Findings of `sagagen diff` that are accepted, each with a reason and a last day.",
    )


class _EditorSchema(GenerateJsonSchema):
    """An optional key may be left out, but its value is never null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def saga_schema() -> dict[str, Any]:
    """The JSON schema of saga.yaml, for editors (`# yaml-language-server: $schema=...`)."""
    schema = SagaFile.model_json_schema(schema_generator=_EditorSchema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
