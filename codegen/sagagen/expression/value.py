"""From one YAML scalar to a checked value: a condition, an id, the list of a loop, a time.

Each place of saga.yaml that takes a value of some type has a function here. All report every mistake at its token and
then return None.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.descriptor import FieldDescriptor

from sagagen.diagnostics import Report
from sagagen.expression.codes import Code
from sagagen.expression.compiled import CompiledExpr
from sagagen.expression.environment import Environment
from sagagen.expression.problem import Problem
from sagagen.expression.scalar import checked, start
from sagagen.expression.tree import Expr, Field, Operation, Operator, ResponseMessage, walk
from sagagen.expression.types import (
    DOUBLE,
    INT,
    INT32,
    Double,
    EnumType,
    Integer,
    ListType,
    MapType,
    MessageType,
    Simple,
    Type,
    field_type,
    plain,
)
from sagagen.source import Node, Scalar

_LINE_BREAKS = re.compile(r"\s*\n\s*")


class ValueExpr(CompiledExpr):
    """A value and how to compute it."""

    __slots__ = ()

    @property
    def redacted(self) -> FieldDescriptor | None:
        """A field that it reads, though the contract says `debug_redact` of it."""
        fields = (node.field for node in walk(self.root) if isinstance(node, Field))
        return next((field for field in fields if field.GetOptions().debug_redact), None)


def reads_response(value: ValueExpr) -> bool:
    """Whether a route's `allow` reads what the service has answered."""
    return any(isinstance(node, ResponseMessage) for node in walk(value.root))


@dataclass(frozen=True, slots=True)
class ListExpr(ValueExpr):
    """A list, over which a loop runs."""

    element: Type
    """The type of the loop's variable: what `Environment.item` takes."""


def compile_condition(node: Node, environment: Environment, report: Report) -> ValueExpr | None:
    """A bool: `when`, `decline.when`, `allow`."""
    return _compile(node, environment, report, "a condition is a bool", _bool)


def compile_text(node: Node, environment: Environment, report: Report) -> ValueExpr | None:
    """A string: `saga_id`."""
    return _compile(node, environment, report, "this is a string", _text)


def compile_key(node: Node, environment: Environment, report: Report) -> ValueExpr | None:
    """What tells one item of a loop from the others: a string, an integer, or the number of an enum's value."""
    return _compile(node, environment, report, "a key is a string, an integer or an enum", _key)


def compile_index(node: Node, environment: Environment, report: Report) -> ValueExpr | None:
    """A value by which sagas can be found: a string, a bool, an integer, or the number of an enum's value."""
    words = "an index holds strings, bools, integers or enums"
    value = _compile(node, environment, report, words, _index_value)
    field = value.redacted if value else None
    if field is None or not isinstance(node, Scalar):
        return value
    report(_redacted(field).at(start(node)))
    return None


def compile_duration(node: Node, environment: Environment, report: Report) -> ValueExpr | None:
    """A google.protobuf.Duration, as seconds."""
    return _compile(node, environment, report, "this is a google.protobuf.Duration", _seconds)


def compile_time(node: Node, environment: Environment, report: Report) -> ValueExpr | None:
    """A google.protobuf.Timestamp, as milliseconds since the epoch; one that is unset is the epoch itself."""
    return _compile(node, environment, report, "this is a google.protobuf.Timestamp", _milliseconds)


def compile_list(node: Node, environment: Environment, report: Report) -> ListExpr | None:
    """The list that a loop runs over."""
    value = _compile(node, environment, report, "a loop runs over a list", _list)
    match value and value.root.type:
        case ListType(element) if value and element:
            return ListExpr(value.root, element, text=value.text)
        case _:
            return None


_Converted = Callable[[Expr], Expr | None]
"""The value as the runtime takes it; None if it has another type."""


def _compile(
    node: Node, environment: Environment, report: Report, words: str, convert: _Converted
) -> ValueExpr | None:
    """`words` say what is wanted here."""
    if not isinstance(node, Scalar) or (node.tag == "null" and not node.text):
        hint = "write an expression; one that begins with [ or { goes in quotes"
        report(Problem(Code.WRONG_SHAPE, f"{words}, written as one expression", hint).at(node.span))
        return None
    value = checked(node, None, environment, report)
    if value is None:
        return None
    converted = convert(value)
    if converted is None:
        report(_wrong_type(value, words, convert).at(start(node)))
    return ValueExpr(converted, text=_LINE_BREAKS.sub(" ", node.text.strip())) if converted else None


def _bool(value: Expr) -> Expr | None:
    return value if plain(value.type) is Simple.BOOL else None


def _text(value: Expr) -> Expr | None:
    return value if plain(value.type) is Simple.STRING else None


def _key(value: Expr) -> Expr | None:
    match plain(value.type):
        case EnumType():
            return Operation(Operator.TO_INT, (value,), INT32)
        case Integer() | Simple.STRING:
            return value
        case _:
            return None


def _index_value(value: Expr) -> Expr | None:
    return _bool(value) or _key(value)


def _seconds(value: Expr) -> Expr | None:
    is_duration = value.type is Simple.DURATION
    return Operation(Operator.TO_SECONDS, (value,), DOUBLE) if is_duration else None


def _milliseconds(value: Expr) -> Expr | None:
    return Operation(Operator.TO_MILLISECONDS, (value,), INT) if value.type is Simple.TIMESTAMP else None


def _list(value: Expr) -> Expr | None:
    return value if isinstance(value.type, ListType) and value.type.element else None


def _redacted(field: FieldDescriptor) -> Problem:
    message = (
        f'it reads "{field.name}", of which the contract says debug_redact: an index is shown, and searched'
    )
    return Problem(Code.REDACTED, message, "index another field, or remove debug_redact from this one")


def _wrong_type(value: Expr, words: str, convert: _Converted) -> Problem:
    match value.type:
        case MapType() if convert is _list:
            return Problem(Code.MAP_ITERATION, f"{words}, and a map has no order", "use a repeated field")
        case ListType(None) if convert is _list:
            return Problem(
                Code.WRONG_TYPE, f"{words}, and this one is always empty", "select a repeated field"
            )
        case type_:
            return Problem(Code.WRONG_TYPE, f"{words}, not {type_}", _way_out(value, convert))


def _way_out(value: Expr, convert: _Converted) -> str:
    type_ = plain(value.type)
    if isinstance(type_, MessageType):
        fields = (Field(value, field, field_type(field)) for field in type_.descriptor.fields)
        fitting = next((each.field.name for each in fields if convert(each)), None)
        return f"select one of its fields{f', for example .{fitting}' if fitting else ''}"
    if convert is _bool:
        return (
            "ask with size(...) or .exists(x, ...)"
            if isinstance(type_, ListType)
            else "compare it with something"
        )
    is_convertible = isinstance(type_, Integer | Double) or type_ in (Simple.BOOL, Simple.BYTES)
    if convert in (_seconds, _milliseconds, _list):
        return "select a field of that type"
    return "convert it: string(...)" if is_convertible else "select a field of such a type"
