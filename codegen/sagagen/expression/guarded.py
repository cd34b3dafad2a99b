"""The way out of reading a step that may have no response: the same expression with its guard, to be pasted."""

from collections.abc import Iterable

from sagagen.expression.codes import Code
from sagagen.expression.environment import Environment
from sagagen.expression.problem import Problem
from sagagen.expression.quoting import in_yaml
from sagagen.expression.syntax import Binary, Syntax, Ternary
from sagagen.expression.tree import Expr, Field
from sagagen.expression.types import (
    Double,
    EnumType,
    Integer,
    ListType,
    MapType,
    MessageType,
    Simple,
    Type,
    Wrapper,
)

_LITERALS: dict[Type, str] = {Simple.STRING: "''", Simple.BYTES: "b''"}
_LONGEST = 160
"""Characters of an expression that a hint repeats."""


def unguarded(step: str, form: str, environment: Environment) -> Problem:
    """`form`: the expression with a guard, or nothing where it can't be given."""
    message = f'step "{step}" may have no response here: {environment.guarded[step]}'
    example = f"has(steps.{step}) ? steps.{step}... : ..."
    return Problem(Code.UNGUARDED_STEP, message, f"write {in_yaml(form or example)}")


def guarded_form(
    text: str, node: Syntax, value: Expr, steps: Iterable[str], environment: Environment
) -> str | None:
    """`text`, computed only where all `steps` are there; None where nothing can stand in for it."""
    condition = " && ".join(f"has(steps.{step})" for step in steps)
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    if value.type is Simple.BOOL:
        is_loose = isinstance(node, Ternary) or (isinstance(node, Binary) and node.operator == "||")
        return f"{condition} && {f'({text})' if is_loose else text}"
    otherwise = _stand_in(value, environment)
    inner = f"({text})" if isinstance(node, Ternary) else text
    return f"{condition} ? {inner} : {otherwise}" if otherwise else None


def _stand_in(value: Expr, environment: Environment) -> str | None:
    """What an unset field of the type reads as."""
    match value.type:
        case Integer(is_signed):
            return "0" if is_signed else "0u"
        case Double():
            return "0.0"
        case ListType():
            return "[]"
        case MapType():
            return "{}"
        case Wrapper():
            return "null"
        case EnumType(name, descriptor):
            return f"{environment.spelled(name)}.{descriptor.values[0].name}"
        case MessageType(name):
            return f"{environment.spelled(name)}{{}}"
        case type_:
            return _LITERALS.get(type_) or _unset_field(value, environment)


def _unset_field(value: Expr, environment: Environment) -> str | None:
    """A time has no literal, and neither has what an Any holds: only a field that is unset stands for them."""
    if isinstance(value, Field) and isinstance(value.operand.type, MessageType):
        return f"{environment.spelled(value.operand.type.name)}{{}}.{value.field.name}"
    return None
