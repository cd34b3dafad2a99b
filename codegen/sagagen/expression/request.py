"""From the YAML under `request:` or `body:` to a checked message."""

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from sagagen.diagnostics import Report
from sagagen.expression.assignment import (
    Assembly,
    field_words,
    into_element,
    into_field,
    into_message,
    not_constructed,
)
from sagagen.expression.codes import Code
from sagagen.expression.compiled import CompiledExpr
from sagagen.expression.environment import Environment
from sagagen.expression.problem import Problem
from sagagen.expression.quoting import unquoted_choice
from sagagen.expression.scalar import checked, start
from sagagen.expression.tree import Build, Constant, Expr, ListOf, MapOf
from sagagen.expression.types import (
    Dynamic,
    Integer,
    ListType,
    MapType,
    MessageType,
    Simple,
    Type,
    element_type,
    field_type,
    is_map,
    map_fields,
    message_type,
)
from sagagen.source import Entry, Mapping, Node, Scalar, Sequence, Span


class MessageExpr(CompiledExpr):
    """A message and how to build it."""

    __slots__ = ()


def compile_message(
    node: Node | None, target: Descriptor, environment: Environment, report: Report
) -> MessageExpr | None:
    """Check the YAML that builds a message; without a node it is the default message.

    Returns None after reporting every mistake at its token.
    """
    type_ = message_type(target)
    whole = type_ if isinstance(type_, Dynamic | MessageType) else MessageType(target.full_name, target)
    if node is None or _is_empty(node):
        return MessageExpr(Build(MessageType(target.full_name, target), ()))
    if isinstance(node, Scalar):
        root = _Compiler(environment, report).whole(node, whole)
        return MessageExpr(root) if root else None
    if not isinstance(type_, MessageType):
        report(not_constructed(type_).at(node.span))
        return None
    root = _Compiler(environment, report).message(node, type_)
    return MessageExpr(root) if root else None


def _is_empty(node: Node) -> bool:
    """`request:` with nothing after it."""
    return isinstance(node, Scalar) and node.tag == "null" and not node.text


class _Compiler:
    def __init__(self, environment: Environment, report: Report) -> None:
        self._environment = environment
        self._report = report

    def message(self, node: Node, type_: MessageType) -> Expr | None:
        match node:
            case Mapping():
                return self._fields(node, type_)
            case Scalar():
                return self.whole(node, type_)
            case Sequence():
                problem = Problem(Code.WRONG_SHAPE, f"this must be {type_}, not a list", "write field: value")
                return self._wrong(node.span, problem)

    def whole(self, node: Scalar, type_: Dynamic | MessageType) -> Expr | None:
        """One expression for the whole message."""
        value = self._scalar(node, type_)
        return value and self._kept(start(node), into_message(value, type_, self._environment))

    def _wrong(self, span: Span, problem: Problem) -> None:
        self._report(problem.at(span))

    def _kept(self, span: Span, result: Expr | Problem) -> Expr | None:
        return self._wrong(span, result) if isinstance(result, Problem) else result

    def _fields(self, node: Mapping, type_: MessageType) -> Build | None:
        assembly = Assembly(type_, self._report)
        for entry in node:
            field = assembly.slot(entry.key.text, entry.key.span)
            if field is not None:
                assembly.set(field, self._value(entry.value, field))
        return assembly.build()

    def _value(self, node: Node, field: FieldDescriptor) -> Expr | None:
        match node:
            case Scalar():
                value = self._scalar(node, field_type(field))
                return value and self._kept(start(node), into_field(value, field, self._environment))
            case Mapping() if is_map(field):
                return self._map(node, field)
            case Mapping() if not field.is_repeated:
                return self._nested(node, field)
            case Sequence() if field.is_repeated and not is_map(field):
                return self._list(node, field)
            case _:
                return self._wrong(node.span, _wrong_shape(node, field))

    def _nested(self, node: Mapping, field: FieldDescriptor) -> Expr | None:
        match field_type(field):
            case MessageType() as type_:
                return self._fields(node, type_)
            case type_ if field.message_type is not None:
                return self._wrong(node.span, not_constructed(type_))
            case _:
                return self._wrong(node.span, _wrong_shape(node, field))

    def _element(self, node: Node, field: FieldDescriptor) -> Expr | None:
        """An element of a list, or a value of a map (`field` of its entry)."""
        type_ = element_type(field)
        if problem := unquoted_choice(node):
            return self._wrong(node.span, problem)
        match node:
            case Scalar():
                value = self._scalar(node, type_)
                return value and self._kept(start(node), into_element(value, field, self._environment))
            case Mapping() if isinstance(type_, MessageType):
                return self._fields(node, type_)
            case _:
                problem = Problem(Code.WRONG_SHAPE, f"an element here must be {type_}", "write an expression")
                return self._wrong(node.span, problem)

    def _list(self, node: Sequence, field: FieldDescriptor) -> Expr | None:
        items = [self._element(item, field) for item in node.items]
        whole = tuple(item for item in items if item is not None)
        return ListOf(whole, field_type(field)) if len(whole) == len(items) else None

    def _map(self, node: Mapping, field: FieldDescriptor) -> Expr | None:
        key, value = map_fields(field)
        entries = [(self._key(entry, key), self._element(entry.value, value)) for entry in node]
        whole = tuple((name, item) for name, item in entries if name is not None and item is not None)
        return MapOf(whole, field_type(field)) if len(whole) == len(entries) else None

    def _key(self, entry: Entry, field: FieldDescriptor) -> Constant | None:
        """Keys are literal, not expressions."""
        type_, text = element_type(field), entry.key.text
        if type_ is Simple.STRING:
            return Constant(text, Simple.STRING)
        if type_ is Simple.BOOL and text in ("true", "false"):
            return Constant(text == "true", Simple.BOOL)
        is_number = text.isascii() and text.removeprefix("-").isdecimal()
        if isinstance(type_, Integer) and is_number and type_.low <= int(text) <= type_.high:
            return Constant(int(text), type_)
        message = f'"{text}" is not a key of type {field_words(field)}'
        problem = Problem(Code.WRONG_TYPE, message, "keys are literal, not expressions")
        return self._wrong(entry.key.span, problem)

    def _scalar(self, node: Scalar, wanted: Type) -> Expr | None:
        return checked(node, wanted, self._environment, self._report)


def _wrong_shape(node: Node, field: FieldDescriptor) -> Problem:
    shape = "a mapping" if isinstance(node, Mapping) else "a list"
    hints: dict[type, str] = {
        ListType: "write a list of them, or an expression that returns a list",
        MapType: "write key: value for each entry, or an expression that returns a map",
        MessageType: "write field: value for each of its fields, or an expression",
    }
    hint = hints.get(type(field_type(field)), "write an expression, or a literal")
    return Problem(Code.WRONG_SHAPE, f'field "{field.name}" takes {field_words(field)}, not {shape}', hint)
