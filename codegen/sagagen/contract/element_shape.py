"""What stands in a list of steps. An element has a name and one of the keys of `VERBS`, which says what it is.

Which keys each kind of element takes, and what to write in place of one that it does not take, is data below
(language.md calls it the table of elements).
"""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from sagagen.contract.codes import Code
from sagagen.contract.known_keys import REQUEST, Shape, Whole, Word, optional
from sagagen.contract.located import Block
from sagagen.contract.policy_shape import PolicyShape
from sagagen.contract.words import (
    CallName,
    Duration,
    DurationOrExpression,
    Expression,
    Expressions,
    Name,
    NameKey,
    Reason,
    kinds,
    whole,
    words,
    wrong,
)
from sagagen.diagnostics import did_you_mean
from sagagen.source import Scalar

VERBS = {"call": "<step>", "wait": "<wait>", "delay": "<delay>", "parallel": "<parallel>"}
"""Exactly one of these keys stands in an element -> its tag."""
CHILD = "saga"
"""What a later edition will take as another of them."""
TAGS = frozenset({*VERBS.values(), "<word>", "<call>", "<decline>"})
"""Pydantic puts these into the path of an error; they are not keys."""
AT_ONCE = 10
MAX_ITEMS = 100
WHEN = "A condition over input, caller, saga and earlier steps; if it is false, {what} is skipped."


class CompensateShape(PolicyShape):
    """The call that undoes what the step did."""

    call: CallName = Field(
        description="service/Method, of the service that the step calls.", examples=["order/CancelOrder"]
    )
    request: Expressions | None = optional(
        REQUEST, example={"order_id": "saga.id", "reason": "failure.reason"}
    )


def _compensate_kind(value: object) -> str:
    return "<word>" if isinstance(value, Scalar) else "<call>"


def _only_compensatable_steps_are_undone(schema: dict[str, Any]) -> None:
    schema["if"] = {"properties": {"kind": {"enum": ["pivot", "retriable"]}}, "required": ["kind"]}
    schema["then"] = {"properties": {"compensate": {"enum": ["none"]}}}


class NamedShape(Shape):
    """What every element has."""

    name: Name = Field(
        description="Unique in the saga; `steps.<name>` reads its response.", examples=["create_order"]
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_another_verb(cls, value: object) -> object:
        """Which one is meant decides everything else, so nothing else is said of it."""
        verbs = [key for key in value if key in VERBS] if isinstance(value, Block) else []
        if isinstance(value, Block) and CHILD in value:
            message = "a saga can't be a step of another saga yet"
            hint = "write its steps here, or let a handler start it through the gateway"
            raise wrong(Code.SAGA_AS_STEP, message, hint, key=CHILD)
        if len(verbs) > 1:
            one, other = verbs[:2]
            message = f'an element is either a "{one}" or a "{other}", not both'
            raise wrong(Code.TWO_ELEMENTS, message, f"make the {other} an element of its own", key=other)
        return value


class ForEachShape(Shape):
    """Repeats the step, once for each item of a list."""

    item: Name = Field(
        description="The name of the item: request, compensation, when and key read it.", examples=["dish"]
    )
    items: Expression = Field(
        alias="in", description="The list, of the input or an earlier response.", examples=["input.dishes"]
    )
    key: Expression | None = optional(
        "What tells the items apart: a text, an integer or an enum, different for each item. "
        "Default: the item's number, from 0.",
        example="dish.dish_id",
    )
    at_once: Annotated[Whole, whole(1, 1000)] | None = optional(
        "Items that may be under way at once.", AT_ONCE
    )
    max_items: Annotated[Whole, whole(1, 1000)] | None = optional(
        "A longer list can't be built: the saga turns back.", MAX_ITEMS
    )


class StepShape(NamedShape, PolicyShape):
    """A call, and what undoes it."""

    model_config = ConfigDict(json_schema_extra=_only_compensatable_steps_are_undone)
    what = "a call"
    elsewhere: ClassVar[dict[str, str]] = {
        "within": "a call has timeout and retry; within is how long a wait lasts",
        "decline": "the handler declines a call (call.decline); decline is for a wait",
        "on_timeout": "say how long it is repeated: retry; on_timeout is for a wait",
    }

    call: CallName = Field(description="service/Method", examples=["order/CreateOrder"])
    kind: Annotated[Word, kinds("compensatable", "pivot", "retriable")] | None = optional(
        "compensatable: undone if the saga turns back. pivot: the go/no-go step, at most one. "
        "retriable: after the pivot; repeated until it is done.",
        "compensatable",
    )
    when: Expression | None = optional(WHEN.format(what="it"), example="input.total_minor > 10000")
    for_each: ForEachShape | None = optional("Repeats it, once for each item of a list.")
    request: Expressions | None = optional(
        REQUEST, example={"order_id": "saga.id", "customer_id": "input.customer_id"}
    )
    compensate: (
        Annotated[
            Annotated[Word, words("none"), Tag("<word>")] | Annotated[CompensateShape, Tag("<call>")],
            Discriminator(_compensate_kind),
        ]
        | None
    ) = optional(
        "The call that undoes this step, or none if there is nothing to undo.",
        example={"call": "order/CancelOrder", "request": {"order_id": "saga.id"}},
    )
    on_give_up: Annotated[Word, words("continue")] | None = optional(
        "For retriable steps: the saga goes on without it when its budget is spent, the service declines it, or its "
        "request can't be built.",
        example="continue",
    )


class DeclineShape(Shape):
    """When an event is a refusal: the saga turns back."""

    when: Expression = Field(
        description="A condition over event, input, caller and saga.", examples=["!event.accepted"]
    )
    reason: Reason = Field(description="What failure.reason is then.", examples=["RESTAURANT_SAID_NO"])


class TimeoutDeclineShape(Shape):
    """The saga turns back when nothing has come in time."""

    decline: Reason = Field(description="What failure.reason is then.", examples=["RESTAURANT_SILENT"])


def _timeout_kind(value: object) -> str:
    return "<word>" if isinstance(value, Scalar) else "<decline>"


class WaitShape(NamedShape):
    """Waits for an event from outside."""

    what = "a wait"
    elsewhere: ClassVar[dict[str, str]] = {
        "timeout": "say how long it waits: within: 10m",
        "retry": "remove it: a wait calls nothing; say how long it waits: within: 10m",
        "compensate": "remove it: a wait leaves nothing to undo",
        "request": "remove it: the event brings its own message, which steps.<name> reads",
        "for_each": "remove it: a wait takes one event; only calls are repeated",
        "on_give_up": "write on_timeout: continue",
    }

    wait: Name = Field(description="The name of an event of this saga.", examples=["answered"])
    kind: Annotated[Word, kinds("compensatable", "pivot", "retriable")] | None = optional(
        "compensatable: before the pivot; there is nothing to undo. pivot: the event decides. "
        "retriable: after the pivot.",
        "compensatable",
    )
    when: Expression | None = optional(WHEN.format(what="it"), example="input.needs_approval")
    within: Duration | None = optional(
        "How long it waits. Default: until the saga's deadline; after the pivot there is no default.",
        example="10m",
    )
    decline: DeclineShape | None = optional("When the event is a refusal: then the saga turns back.")
    on_timeout: (
        Annotated[
            Annotated[Word, words("continue"), Tag("<word>")]
            | Annotated[TimeoutDeclineShape, Tag("<decline>")],
            Discriminator(_timeout_kind),
        ]
        | None
    ) = optional(
        "What follows when nothing has come in time: the saga turns back with this reason, or goes on (continue). "
        "Default: it turns back with WAIT_TIMED_OUT; after the pivot it goes on.",
        example={"decline": "RESTAURANT_SILENT"},
    )


class DelayTimeShape(Shape):
    """How long, or until when: after or at."""

    after: DurationOrExpression | None = optional(
        "A duration, or an expression of the type google.protobuf.Duration.", example="24h"
    )
    at: Expression | None = optional(
        "An expression of the type google.protobuf.Timestamp; a time that is past is now.",
        example="input.pickup_at",
    )
    at_most: Duration | None = optional(
        "For an expression: what is later can't be built. Needed after the pivot.", example="14d"
    )


class DelayShape(NamedShape):
    """Lets time pass."""

    what = "a delay"
    elsewhere: ClassVar[dict[str, str]] = {
        "within": "say how long it takes: delay: { after: 10m }",
        "timeout": "say how long it takes: delay: { after: 10m }",
        "retry": "remove it: a delay calls nothing",
        "compensate": "remove it: a delay leaves nothing to undo",
        "request": "remove it: a delay calls nothing",
        "for_each": "remove it: only calls are repeated",
        "decline": "remove it: nothing can decline a delay; what waits for an answer is a wait",
        "on_timeout": "remove it: a delay always ends; what waits for an event is a wait",
        "on_give_up": "remove it: a delay always ends",
        "at_most": "write it beside at: delay: { at: ..., at_most: ... }",
    }

    delay: DelayTimeShape = Field(description="How long, or until when.", examples=[{"after": "24h"}])
    kind: Annotated[Word, kinds("compensatable", "retriable")] | None = optional(
        "compensatable: before the pivot; there is nothing to undo. retriable: after the pivot.",
        "compensatable",
    )
    when: Expression | None = optional(WHEN.format(what="it"), example="has(input.pickup_at)")


class ParallelShape(NamedShape):
    """Branches that begin together. What follows the block waits for all of them."""

    what = "a parallel block"
    elsewhere: ClassVar[dict[str, str]] = {
        "within": "write it at the waits in its branches",
        "timeout": "write it at the calls in its branches",
        "retry": "write it at the calls in its branches",
        "compensate": "write it at the calls in its branches: undoing mirrors the block",
        "request": "write it at the calls in its branches",
        "for_each": "write it at the calls in its branches",
        "decline": "write it at the waits in its branches",
        "on_timeout": "write it at the waits in its branches",
        "on_give_up": "write it at the calls in its branches",
    }

    parallel: Annotated[
        dict[NameKey, Annotated["list[ElementShape]", Field(json_schema_extra={"minItems": 1})]],
        Field(json_schema_extra={"minProperties": 1}),
    ] = Field(description="A list of steps for each branch, by a name that is unique in the block.")
    kind: Annotated[Word, kinds("compensatable", "retriable")] | None = optional(
        "compensatable or retriable, which all its steps then are.", "compensatable"
    )
    when: Expression | None = optional(WHEN.format(what="the whole block"), example="input.is_delivered")


def _element_kind(value: object) -> str:
    """By the first verb in the file; a call where there is none, unless a key comes near another one."""
    if not isinstance(value, Block):
        return VERBS["call"]
    keys = [*value, *value.removed]
    found = next((key for key in keys if key in VERBS), None) or next(_near_misses(keys), "call")
    return VERBS[str(found)]


def _near_misses(keys: list[str]) -> Iterator[str]:
    hints = {f'did you mean "{verb}"?': verb for verb in VERBS}
    known = {*StepShape.known_keys(), *WaitShape.known_keys()}
    return (hints[hint] for key in keys if key not in known and (hint := did_you_mean(key, VERBS)) in hints)


ElementShape = Annotated[
    Annotated[StepShape, Tag("<step>")]
    | Annotated[WaitShape, Tag("<wait>")]
    | Annotated[DelayShape, Tag("<delay>")]
    | Annotated[ParallelShape, Tag("<parallel>")],
    Discriminator(_element_kind),
]
"""What stands in a list of steps."""
ParallelShape.model_rebuild()
