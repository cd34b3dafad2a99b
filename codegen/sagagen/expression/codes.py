"""Diagnostic codes of expressions, stable for good: what each one means, and what mends it."""

from collections.abc import Mapping
from enum import StrEnum


class Code(StrEnum):
    SYNTAX = "SG100"
    UNKNOWN_NAME = "SG101"
    UNKNOWN_FIELD = "SG102"
    UNKNOWN_STEP = "SG103"
    UNREADABLE_STEP = "SG104"
    WRONG_TYPE = "SG105"
    WRONG_OPERANDS = "SG106"
    UNKNOWN_FUNCTION = "SG107"
    WRONG_ARGUMENTS = "SG108"
    UNKNOWN_TYPE = "SG109"
    UNKNOWN_ENUM_VALUE = "SG110"
    ONEOF_SET_TWICE = "SG111"
    SET_TWICE = "SG112"
    MAY_FAIL = "SG113"
    OUT_OF_RANGE = "SG114"
    DYNAMIC = "SG115"
    TIME = "SG116"
    MIXED_TYPES = "SG117"
    NULL = "SG118"
    NO_FAILURE_HERE = "SG119"
    MAP_ITERATION = "SG120"
    REGULAR_EXPRESSION = "SG121"
    WRONG_SHAPE = "SG122"
    BAD_LITERAL = "SG123"
    NOT_COMPARABLE = "SG124"
    NO_FIELDS = "SG125"


def _entry(meaning: str, example: str, cure: str) -> str:
    return f"{meaning} Example: `{example}`. {cure}"


CODES: Mapping[str, str] = {
    Code.SYNTAX.value: _entry(
        "The text is no expression.",
        "note: hello world",
        "A text has quotes of its own inside the YAML: `\"'hello world'\"`.",
    ),
    Code.UNKNOWN_NAME.value: _entry(
        "There is no variable of this name here.",
        "inputs.customer_id",
        "Write `input`, `steps`, `saga`, in compensations `failure`, or the variable of a macro.",
    ),
    Code.UNKNOWN_FIELD.value: _entry(
        "The message has no such field.",
        "input.custmer_id",
        "Write the field's name as in the proto file: `input.customer_id`.",
    ),
    Code.UNKNOWN_STEP.value: _entry(
        "The saga has no such step.",
        "steps.create_ordr.order",
        "Write the name of a step: `steps.create_order`.",
    ),
    Code.UNREADABLE_STEP.value: _entry(
        "The step's response is not known here: the step runs later, or may be in doubt.",
        "steps.charge_payment.payment_id (in the step before it)",
        "Read a step that is done by then.",
    ),
    Code.WRONG_TYPE.value: _entry(
        "The value has another type than the field.",
        "amount_minor: input.customer_id",
        "Give a value of the field's type, or convert it: `int(...)`, `string(...)`.",
    ),
    Code.WRONG_OPERANDS.value: _entry(
        "The operator does not take these operands; int, uint and double never mix.",
        "input.quantity * 1.5",
        "Convert one side: `double(input.quantity) * 1.5`.",
    ),
    Code.UNKNOWN_FUNCTION.value: _entry(
        "There is no such function or macro.", "len(input.items)", "Write `size(input.items)`."
    ),
    Code.WRONG_ARGUMENTS.value: _entry(
        "The function or macro takes other arguments.", "has(input)", "Write `has(input.customer_id)`."
    ),
    Code.UNKNOWN_TYPE.value: _entry(
        "There is no such message or enum.",
        "OrderItm{quantity: 1}",
        "Write `OrderItem{...}`, or the full name if it is of another package than the called rpc.",
    ),
    Code.UNKNOWN_ENUM_VALUE.value: _entry(
        "The enum has no such value.", "Order.Status.PENDIN", "Write `Order.Status.PENDING`."
    ),
    Code.ONEOF_SET_TWICE.value: _entry(
        "Two members of one oneof are set, of which a message keeps one.",
        "Payment{card: input.card, invoice: input.invoice}",
        "Remove one, or choose between two whole messages with `? :`.",
    ),
    Code.SET_TWICE.value: _entry(
        "A field is set twice, or a map has a key twice.",
        "OrderItem{quantity: 1, quantity: 2}",
        "Remove one of the two.",
    ),
    Code.MAY_FAIL.value: _entry(
        "A compensation's request, and the answer, must always be possible to build: "
        "no arithmetic, index, map lookup, narrowing or parsing.",
        "amount_minor: steps.create_order.order.total_minor + 1 (in `compensate`)",
        "Compute it in a step, and read it from that step's response.",
    ),
    Code.OUT_OF_RANGE.value: _entry(
        "The value never fits.",
        "quantity: 3000000000 (an int32)",
        "Give a number that fits, or the field a wider type.",
    ),
    Code.DYNAMIC.value: _entry(
        "Any, Struct, Value and ListValue hold what can't be checked.",
        "input.metadata (a google.protobuf.Struct)",
        "Use a message of its own, or a map.",
    ),
    Code.TIME.value: _entry(
        "Timestamps and durations are passed on, never computed or compared.",
        "input.start + duration('1h')",
        "Compute it in a handler.",
    ),
    Code.MIXED_TYPES.value: _entry(
        "The branches of `? :`, or the elements of a list or map, have different types.",
        "has(input.note) ? input.note : 0",
        "Give them one type.",
    ),
    Code.NULL.value: _entry(
        "null is the value of wrapper fields alone (google.protobuf.StringValue and its like).",
        "input.order == null",
        "Ask with `has(...)`, or leave the field out.",
    ),
    Code.NO_FAILURE_HERE.value: _entry(
        "`failure` is known in compensations only.",
        "reason: failure.reason (in a step)",
        "Read it in `compensate`.",
    ),
    Code.MAP_ITERATION.value: _entry(
        "map, filter, exists and all do not run over a map, which has no order.",
        "input.labels.map(k, k)",
        "Use a repeated field.",
    ),
    Code.REGULAR_EXPRESSION.value: _entry(
        "There are no regular expressions.",
        "input.sku.matches('^A')",
        "Use `==`, `startsWith`, `endsWith` or `contains`, or validate with buf.validate.",
    ),
    Code.WRONG_SHAPE.value: _entry(
        "The YAML has another shape than the field.",
        "items: { quantity: 1 } (a repeated field)",
        "Write a list for a repeated field, a mapping for a message or map, or an expression.",
    ),
    Code.BAD_LITERAL.value: _entry(
        "A literal can't be read: an unknown escape, a text without an end, a number out of range.",
        r"'\d'",
        r"Write `'\\d'` or `r'\d'`.",
    ),
    Code.NOT_COMPARABLE.value: _entry(
        "Messages are not compared, nor lists and maps of messages or doubles.",
        "input.order == steps.create_order.order",
        "Compare their fields.",
    ),
    Code.NO_FIELDS.value: _entry(
        "The value has no fields to select.", "input.customer_id.name", "Write `input.customer_id`."
    ),
}
"""Code -> meaning, example and cure, in one line of Markdown each, for docs/diagnostics.md."""
