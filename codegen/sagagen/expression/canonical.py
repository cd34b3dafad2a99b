"""The meaning of an expression as text, for the saga's digest.

White space, comments, quotes, the spelling of numbers, short or full type names and the names of variables, of macros
and of loops, change nothing. Fields and enum values appear as their numbers, as on the wire and in the log.
"""

from google.protobuf.descriptor import FieldDescriptor

from sagagen.expression.tree import (
    Build,
    Caller,
    Claim,
    Comprehension,
    Conditional,
    Constant,
    EnumConstant,
    EventMessage,
    Expr,
    FailureField,
    Field,
    Has,
    HasResponse,
    Input,
    Item,
    ListOf,
    Logic,
    MapOf,
    Narrow,
    Operation,
    RequestMessage,
    ResponseMessage,
    SagaId,
    StartedAt,
    StepResponse,
    Variable,
)


def canonical(expr: Expr) -> str:
    """Stable across versions of the tool: a change here is a new digest for every running saga."""
    match expr:
        case Constant(value, type_):
            return f"({type_} {value!r})"
        case EnumConstant(value):
            return f"(enum {value.type.full_name} {value.number})"
        case Field(operand, field):
            return f"(get {canonical(operand)} {field.number})"
        case Build(type_, fields):
            # In the order of numbers: the order within a construction has no meaning.
            ordered = sorted(fields, key=lambda item: item[0].number)
            return _form("new", type_.name, *(_assignment(field, value) for field, value in ordered))
        case MapOf(entries):
            return _form("mapping", *(f"{canonical(key)}:{canonical(value)}" for key, value in entries))
        case Narrow(operand):
            # The field's type already says it, and leaving out a check where the range is known changes no meaning.
            return canonical(operand)
        case _:
            return _name(expr) or _compound(expr)


def _name(expr: Expr) -> str:
    match expr:
        case Input():
            return "input"
        case SagaId():
            return "saga.id"
        case StartedAt():
            return "saga.started_at"
        case Caller():
            return "caller"
        case Claim(name):
            return f"claims.{name}"
        case EventMessage():
            return "event"
        case RequestMessage():
            return "request"
        case ResponseMessage():
            return "response"
        case Item():
            return "item"
        case FailureField(name):
            return f"failure.{name}"
        case StepResponse(step):
            return f"steps.{step}"
        case Variable(_, number):
            return f"${number}"
        case _:
            return ""


def _compound(expr: Expr) -> str:
    match expr:
        case Has(field):
            return f"(has {canonical(field)})"
        case HasResponse(step):
            return f"(done steps.{step})"
        case Operation(operator, operands):
            return _form(operator.value, *map(canonical, operands))
        case Logic(connective, left, right):
            return _form(connective.value, canonical(left), canonical(right))
        case Conditional(condition, then, otherwise):
            return _form("if", canonical(condition), canonical(then), canonical(otherwise))
        case ListOf(items):
            return _form("list", *map(canonical, items))
        case Comprehension(macro, variable, source, condition, result):
            parts = (canonical(part) if part else "-" for part in (source, condition, result))
            return _form(macro.value, canonical(variable), *parts)
        case _:
            raise AssertionError(f"unreachable: {expr}")


def _form(*parts: str) -> str:
    return f"({' '.join(parts)})"


def _assignment(field: FieldDescriptor, value: Expr) -> str:
    return f"{field.number}:{field.type}={canonical(value)}"
