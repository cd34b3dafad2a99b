"""Whether a value may go into a field, and what must be checked when it does."""

from google.protobuf.descriptor import FieldDescriptor

from sagagen.diagnostics import Report, did_you_mean
from sagagen.expression.codes import Code
from sagagen.expression.environment import Environment
from sagagen.expression.operators import TIME, null_problem
from sagagen.expression.problem import Problem
from sagagen.expression.tree import (
    Build,
    Comprehension,
    Conditional,
    Expr,
    ListOf,
    Macro,
    MapOf,
    Narrow,
)
from sagagen.expression.types import (
    Double,
    Dynamic,
    EnumType,
    Integer,
    ListType,
    MapType,
    MessageType,
    Simple,
    Type,
    Wrapper,
    element_type,
    field_type,
    is_dynamic,
    is_map,
    joined,
    map_fields,
    plain,
)
from sagagen.source import Span

_TIME = (Simple.TIMESTAMP, Simple.DURATION)


class Assembly:
    """Collects the fields of a message, from YAML or from a construction, and reports what can't be set."""

    def __init__(self, type_: MessageType, report: Report) -> None:
        self._type = type_
        self._report = report
        self._fields: list[tuple[FieldDescriptor, Expr]] = []
        self._named: dict[str, FieldDescriptor] = {}
        self._is_whole = True

    def slot(self, name: str, span: Span) -> FieldDescriptor | None:
        """The field to set, or None after reporting that it does not exist or can't be set again."""
        field = self._type.descriptor.fields_by_name.get(name)
        problem = self._refusal(name, field)
        if problem:
            self._report(problem.at(span))
        if field is None or problem:
            self._is_whole = False
            return None
        self._named[name] = field
        return field

    def set(self, field: FieldDescriptor, value: Expr | None) -> None:
        """None if what was to be set is wrong; then it is reported."""
        if value is None:
            self._is_whole = False
        else:
            self._fields.append((field, value))

    def build(self) -> Build | None:
        """None if anything was reported."""
        return Build(self._type, tuple(self._fields)) if self._is_whole else None

    def _refusal(self, name: str, field: FieldDescriptor | None) -> Problem | None:
        if field is None:
            return unknown_field(self._type, name)
        if name in self._named:
            return Problem(Code.SET_TWICE, f'field "{name}" is set twice', "remove one of the two")
        oneof = field.containing_oneof
        for other in self._named.values():
            if oneof is not None and other.containing_oneof is oneof:
                return Problem(
                    Code.ONEOF_SET_TWICE,
                    f'"{name}" and "{other.name}" are members of the oneof "{oneof.name}": a message keeps only one',
                    f'remove "{name}" or "{other.name}"',
                )
        return None


def unknown_field(type_: MessageType, name: str) -> Problem:
    simple = type_.descriptor.name
    fields = [field.name for field in type_.descriptor.fields]
    hint = did_you_mean(name, fields) or f"{simple} has no fields at all"
    if oneof := type_.descriptor.oneofs_by_name.get(name):
        hint = (
            f"{name} is a oneof: select one of its members: {', '.join(field.name for field in oneof.fields)}"
        )
    return Problem(Code.UNKNOWN_FIELD, f'message "{simple}" has no field "{name}"', hint)


def dynamic_problem(type_: Type) -> Problem:
    """For whoever reads or writes what is in an Any, Struct, Value or ListValue."""
    return Problem(
        Code.DYNAMIC,
        f"the contents of {type_} have no type to check against",
        "pass it on as a whole, to a field of the same type, or use a message of its own",
    )


def into_field(value: Expr, field: FieldDescriptor, environment: Environment) -> Expr | Problem:
    """`value` with the checks that `field` needs, or why it does not fit."""
    words = f'field "{field.name}" takes {field_words(field)}'
    return _into(value, field_type(field), words, environment)


def into_element(value: Expr, field: FieldDescriptor, environment: Environment) -> Expr | Problem:
    """The same for an element of a repeated field, or a value of a map (`field` of its entry)."""
    words = f'an element of "{field.name}" is {_single_words(field)}'
    return _into(value, element_type(field), words, environment)


def into_message(value: Expr, type_: Dynamic | MessageType, environment: Environment) -> Expr | Problem:
    """The same for a whole request."""
    return _into(value, type_, f"this must be {type_}", environment)


def _into(value: Expr, target: Type, words: str, environment: Environment) -> Expr | Problem:
    if value.type is Simple.NULL:
        return value if isinstance(target, Wrapper) else null_problem(target)
    source = plain(value.type)
    wanted = plain(target)
    if joined(source, wanted) is None:
        for type_ in (source, wanted):
            if is_dynamic(type_):
                return dynamic_problem(type_)
        return _mismatch(source, wanted, words, environment)
    if is_disjoint(source, wanted):
        return Problem(Code.OUT_OF_RANGE, f"the value never fits: {words}", _range_hint(wanted))
    if fits(source, wanted):
        return value
    if environment.total:
        return Problem(
            Code.MAY_FAIL,
            f"a value of type {source} may not fit: {words}, and it must always be possible to build this",
            "give the field the wider type, or read a value that a step has narrowed",
        )
    return narrowed(value, target)


def _mismatch(source: Type, wanted: Type, words: str, environment: Environment) -> Problem:
    is_time = wanted in _TIME and (source in _TIME or source is Simple.STRING)
    if is_time or (source in _TIME and wanted is Simple.STRING):
        return TIME
    hint = _hint(source, wanted, environment)
    return Problem(Code.WRONG_TYPE, f"{words}, not {source}", hint)


def _hint(source: Type, wanted: Type, environment: Environment) -> str:
    match source, wanted:
        case _, ListType(element) if element and joined(source, element):
            return "put it in a list: [...]"
        case ListType(element), _ if element and joined(element, wanted):
            return "select one element, or map the list"
        case _, EnumType(name, descriptor):
            return f"write one of its values: {environment.spelled(name)}.{descriptor.values[-1].name}"
        case MessageType(_, descriptor), _:
            names = [field.name for field in descriptor.fields if joined(plain(field_type(field)), wanted)]
            return (
                f"select one of its fields, for example .{names[0]}" if names else "select one of its fields"
            )
        case _, Simple.BOOL:
            return "compare it with something"
        case _ if str(wanted) in _conversions(source):
            return f"convert it: {wanted}(...)"
        case _:
            return f"write a value of type {environment.spelled(str(wanted))}"


def _conversions(source: Type) -> tuple[str, ...]:
    match source:
        case Integer() | Double():
            return ("int", "uint", "double", "string")
        case EnumType():
            return ("int",)
        case Simple.STRING:
            return ("int", "uint", "double", "bytes")
        case Simple.BYTES | Simple.BOOL:
            return ("string",)
        case _:
            return ()


def fits(source: Type | None, wanted: Type | None) -> bool:
    """Whether no value of one type is outside the other's range."""
    match source, wanted:
        case Integer(), Integer():
            return wanted.contains(source)
        case Double(is_single), Double(wants_single):
            return is_single or not wants_single
        case ListType(element), ListType(wanted_element):
            return fits(element, wanted_element)
        case MapType(key, value), MapType(wanted_key, wanted_value):
            return fits(key, wanted_key) and fits(value, wanted_value)
        case _:
            return True


def is_disjoint(source: Type, wanted: Type) -> bool:
    """Whether no value of one type fits the other."""
    match source, wanted:
        case Integer(), Integer():
            return source.high < wanted.low or wanted.high < source.low
        case _:
            return False


def _range_hint(wanted: Type) -> str:
    return f"it takes {wanted.low} to {wanted.high}" if isinstance(wanted, Integer) else ""


def narrowed(value: Expr, target: Type) -> Expr:
    """A check as deep inside as possible, where it reads best: in a macro's result, a branch or an element."""
    if fits(plain(value.type), plain(target)):
        return value
    match value, plain(target):
        case Conditional(condition, then, otherwise), _:
            return Conditional(condition, narrowed(then, target), narrowed(otherwise, target), target)
        case ListOf(items), ListType(element) if element:
            return ListOf(tuple(narrowed(item, element) for item in items), target)
        case MapOf(entries), MapType(key, element) if key and element:
            pairs = ((narrowed(name, key), narrowed(item, element)) for name, item in entries)
            return MapOf(tuple(pairs), target)
        case Comprehension(Macro.MAP), ListType(element) if element:
            result = narrowed(value.result, element)
            return Comprehension(value.macro, value.variable, value.source, value.condition, result, target)
        case _:
            return Narrow(value, target)


def field_words(field: FieldDescriptor) -> str:
    """A field's type in the words of proto files: `repeated shop.order.v1.OrderItem`, `map<string, int64>`."""
    if is_map(field):
        key, value = map_fields(field)
        return f"map<{_single_words(key)}, {_single_words(value)}>"
    return f"repeated {_single_words(field)}" if field.is_repeated else _single_words(field)


def _single_words(field: FieldDescriptor) -> str:
    named = field.enum_type or field.message_type
    return named.full_name if named else _TYPE_WORDS[field.type]


_TYPE_WORDS: dict[int, str] = {
    getattr(FieldDescriptor, name): name.removeprefix("TYPE_").lower()
    for name in dir(FieldDescriptor)
    if name.startswith("TYPE_")
}


def not_constructed(type_: Type) -> Problem:
    """Why a well-known message can't be constructed by its name."""
    match type_:
        case Wrapper(inner):
            return Problem(
                Code.UNKNOWN_TYPE, "a wrapper is written as the value itself", f"write the {inner} alone"
            )
        case Dynamic():
            return dynamic_problem(type_)
        case _:
            return TIME
