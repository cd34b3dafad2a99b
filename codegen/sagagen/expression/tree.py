"""A checked expression: every name bound, every node typed. Immutable; rendering and the digest read it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, TypeGuard

from google.protobuf.descriptor import EnumValueDescriptor, FieldDescriptor

from sagagen.expression.types import Dynamic, ListType, MessageType, Simple, Type, has_presence


@dataclass(frozen=True, slots=True)
class Input:
    type: Type


@dataclass(frozen=True, slots=True)
class SagaId:
    type: Type = Simple.STRING


@dataclass(frozen=True, slots=True)
class FailureField:
    name: str
    type: Type = Simple.STRING


@dataclass(frozen=True, slots=True)
class Caller:
    """Who started the saga; for an event, who sent it."""

    type: Type = Simple.STRING


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token says of the caller; where it says nothing, the type's default."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class StartedAt:
    type: Type = Simple.TIMESTAMP


@dataclass(frozen=True, slots=True)
class EventMessage:
    type: Type


@dataclass(frozen=True, slots=True)
class RequestMessage:
    """Of a call that a route's `allow` is about."""

    type: Type


@dataclass(frozen=True, slots=True)
class ResponseMessage:
    """What a service has answered to that call."""

    type: Type


@dataclass(frozen=True, slots=True)
class Item:
    """The variable of the loop that the expression is in."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class StepResponse:
    step: str
    type: MessageType | Dynamic | ListType
    """Of a loop: a list of what its items returned."""
    is_guarded: bool = field(default=False, compare=False)
    """Whether it may be missing, so that it is read only behind its `has`."""


@dataclass(frozen=True, slots=True)
class HasResponse:
    """`has(steps.x)`"""

    step: str
    type: Type = Simple.BOOL


@dataclass(frozen=True, slots=True)
class Variable:
    """What a macro runs over, one element after the other."""

    name: str
    number: int
    """Distinguishes variables of the same name within an expression."""
    type: Type


@dataclass(frozen=True, slots=True)
class Constant:
    value: int | float | str | bytes | bool | None
    type: Type


@dataclass(frozen=True, slots=True)
class EnumConstant:
    value: EnumValueDescriptor
    type: Type


@dataclass(frozen=True, slots=True)
class Field:
    operand: "Expr"
    field: FieldDescriptor
    type: Type


@dataclass(frozen=True, slots=True)
class Has:
    field: Field
    type: Type = Simple.BOOL


class Operator(StrEnum):
    """Everything that computes a value from the values of all its operands; each overload is separate."""

    ADD = "add"
    SUBTRACT = "subtract"
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    REMAINDER = "remainder"
    NEGATE = "negate"
    CONCATENATE = "concatenate"
    NOT = "not"
    EQUAL = "equal"
    NOT_EQUAL = "not_equal"
    LESS = "less"
    LESS_OR_EQUAL = "less_or_equal"
    GREATER = "greater"
    GREATER_OR_EQUAL = "greater_or_equal"
    IN = "in"
    ITEM = "item"
    LOOKUP = "lookup"
    SIZE = "size"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    TO_INT = "int"
    TO_UINT = "uint"
    TO_DOUBLE = "double"
    TO_STRING = "string"
    TO_BYTES = "bytes"
    TO_SECONDS = "seconds"
    """Of a duration; not in CEL: what an element asks of an expression that says how long."""
    TO_MILLISECONDS = "milliseconds"
    """Of a timestamp, since the epoch; not in CEL either."""


@dataclass(frozen=True, slots=True)
class Operation:
    operator: Operator
    operands: tuple["Expr", ...]
    type: Type
    can_fail: bool = False


class Connective(StrEnum):
    AND = "and"
    OR = "or"


@dataclass(frozen=True, slots=True)
class Logic:
    """`&&` and `||`, which do not compute the second operand if the first decides."""

    connective: Connective
    left: "Expr"
    right: "Expr"
    type: Type = Simple.BOOL


@dataclass(frozen=True, slots=True)
class Conditional:
    condition: "Expr"
    then: "Expr"
    otherwise: "Expr"
    type: Type


@dataclass(frozen=True, slots=True)
class Build:
    """A message with some of its fields set, in the order in which they are written."""

    type: MessageType
    fields: tuple[tuple[FieldDescriptor, "Expr"], ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    items: tuple["Expr", ...]
    type: Type


@dataclass(frozen=True, slots=True)
class MapOf:
    entries: tuple[tuple["Expr", "Expr"], ...]
    type: Type


class Macro(StrEnum):
    MAP = "map"
    """Also filter, and map with a condition."""
    EXISTS = "exists"
    ALL = "all"
    EXISTS_ONE = "exists_one"


@dataclass(frozen=True, slots=True)
class Comprehension:
    macro: Macro
    variable: Variable
    source: "Expr"
    condition: "Expr | None"
    """None for every element. For exists, all and exists_one: the condition on the elements."""
    result: "Expr"
    """The result for an element (map); otherwise the variable itself."""
    type: Type


@dataclass(frozen=True, slots=True)
class Narrow:
    """A check that a number fits its field."""

    operand: "Expr"
    type: Type


Expr: TypeAlias = (
    Input | SagaId | StartedAt | Caller | Claim | EventMessage | RequestMessage | ResponseMessage | Item | FailureField
    | StepResponse | HasResponse | Variable | Constant | EnumConstant | Field | Has | Operation | Logic | Conditional
    | Build | ListOf | MapOf | Comprehension | Narrow
)  # fmt: skip


def children(expr: Expr) -> Iterator[Expr]:
    match expr:
        case Field(operand) | Narrow(operand) | Has(operand):
            yield operand
        case Operation(_, operands) | ListOf(operands):
            yield from operands
        case Logic(_, left, right):
            yield from (left, right)
        case Conditional(condition, then, otherwise):
            yield from (condition, then, otherwise)
        case Build(_, fields):
            yield from (value for _, value in fields)
        case MapOf(entries):
            yield from (part for entry in entries for part in entry)
        case Comprehension():
            yield expr.source
            yield from (part for part in (expr.condition, expr.result) if part)
        case _:
            return


def walk(expr: Expr) -> Iterator[Expr]:
    yield expr
    for child in children(expr):
        yield from walk(child)


def can_fail(expr: Expr) -> bool:
    """Whether computing it may raise ExpressionError."""
    return any(
        isinstance(node, Narrow) or (isinstance(node, Operation) and node.can_fail) for node in walk(expr)
    )


def is_filter(expr: Expr) -> TypeGuard[Comprehension]:
    """`xs.filter(x, ...)`: a map that keeps the elements as they are."""
    return (
        isinstance(expr, Comprehension)
        and expr.macro is Macro.MAP
        and expr.condition is not None
        and expr.result == expr.variable
    )


def may_be_absent(expr: Expr) -> bool:
    """Whether it is only the selection of a field that can be unset, a choice between such, or null."""
    match expr:
        case Field(_, field):
            return has_presence(field)
        case Conditional(_, then, otherwise):
            return may_be_absent(then) or may_be_absent(otherwise)
        case Constant(value):
            return value is None
        case Narrow(operand):
            return may_be_absent(operand)
        case _:
            return False
