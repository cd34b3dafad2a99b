"""Functions and conversions: what they take and return."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sagagen.diagnostics import did_you_mean
from sagagen.expression.codes import Code
from sagagen.expression.macros import ARGUMENTS
from sagagen.expression.operators import TIME, extreme, total
from sagagen.expression.problem import Problem
from sagagen.expression.tree import Expr, Operation, Operator
from sagagen.expression.types import (
    DOUBLE,
    INT,
    INT32,
    SIZE,
    UINT,
    Double,
    EnumType,
    Integer,
    ListType,
    MapType,
    Simple,
    plain,
)


@dataclass(frozen=True, slots=True)
class Function:
    parameters: int
    """Number of operands; a receiver is the first."""
    apply: Callable[[Sequence[Expr]], Expr | None]
    """None if it does not take operands of these types."""
    takes: str
    """What it takes, for diagnostics."""


def global_function(name: str, operands: Sequence[Expr]) -> Expr | Problem:
    return _apply(name, operands, _GLOBAL, _MACROS | {"has"}, 0)


def method(name: str, operands: Sequence[Expr]) -> Expr | Problem:
    """`operands[0].name(operands[1:])`."""
    return _apply(name, operands, _METHODS, _MACROS, 1)


def is_known(name: str, *, is_method: bool) -> bool:
    return name in (_METHODS if is_method else _GLOBAL)


def refused(name: str) -> Problem | None:
    """Functions of CEL that are left out on purpose."""
    if name == "matches":
        return Problem(
            Code.REGULAR_EXPRESSION,
            "expressions have no regular expressions",
            "use ==, startsWith, endsWith or contains; or validate the field with buf.validate",
        )
    if name in ("timestamp", "duration") or name.startswith("get"):
        return TIME
    if name == "dyn":
        return Problem(
            Code.DYNAMIC, "dyn() gives up the type, so nothing could be checked", "leave dyn(...) out"
        )
    return None


def _apply(
    name: str, operands: Sequence[Expr], known: Mapping[str, Function], macros: frozenset[str], receivers: int
) -> Expr | Problem:
    function = known.get(name)
    if function is None:
        return _unknown(name, known, macros, receivers)
    if len(operands) != function.parameters:
        wanted = function.parameters - receivers
        message = f"{name}() takes {_count(wanted)}, not {len(operands) - receivers}"
        return Problem(Code.WRONG_ARGUMENTS, message, f"it takes {function.takes}")
    if result := function.apply(operands):
        return result
    types = " and ".join(str(plain(operand.type)) for operand in operands)
    if name in _CONVERSIONS and operands[0].type in (Simple.TIMESTAMP, Simple.DURATION):
        return TIME
    return Problem(Code.WRONG_ARGUMENTS, f"{name}() does not take {types}", f"it takes {function.takes}")


def _unknown(name: str, known: Mapping[str, Function], macros: frozenset[str], receivers: int) -> Problem:
    other = _GLOBAL if receivers else _METHODS
    if name in other or (name in _MACROS and not receivers):
        place = f"{name}(x)" if receivers else f"x.{name}(...)"
        return Problem(Code.UNKNOWN_FUNCTION, f'"{name}" can\'t be called in this way', f"write {place}")
    hint = did_you_mean(_OTHER_NAMES.get(name, name), [*known, *macros])
    return Problem(Code.UNKNOWN_FUNCTION, f'there is no function "{name}"', hint)


_OTHER_NAMES = {
    "len": "size",
    "length": "size",
    "count": "size",
    "str": "string",
    "float": "double",
    "any": "exists",
    "total": "sum",
    "least": "min",
    "greatest": "max",
}


def _count(number: int) -> str:
    return {0: "no argument", 1: "one argument"}.get(number, f"{number} arguments")


def _size(operands: Sequence[Expr]) -> Expr | None:
    type_ = plain(operands[0].type)
    if isinstance(type_, ListType | MapType) or type_ in (Simple.STRING, Simple.BYTES):
        return Operation(Operator.SIZE, tuple(operands), SIZE)
    return None


def _text_test(operator: Operator) -> Callable[[Sequence[Expr]], Expr | None]:
    def apply(operands: Sequence[Expr]) -> Expr | None:
        if any(plain(operand.type) is not Simple.STRING for operand in operands):
            return None
        return Operation(operator, tuple(operands), Simple.BOOL)

    return apply


def _to_int(operands: Sequence[Expr]) -> Expr | None:
    match plain(operands[0].type):
        case Integer() as source:
            return _to_integer(Operator.TO_INT, operands[0], source, INT)
        case EnumType():
            return Operation(Operator.TO_INT, tuple(operands), INT32)
        case Double() | Simple.STRING:
            return Operation(Operator.TO_INT, tuple(operands), INT, can_fail=True)
        case _:
            return None


def _to_uint(operands: Sequence[Expr]) -> Expr | None:
    match plain(operands[0].type):
        case Integer() as source:
            return _to_integer(Operator.TO_UINT, operands[0], source, UINT)
        case Double() | Simple.STRING:
            return Operation(Operator.TO_UINT, tuple(operands), UINT, can_fail=True)
        case _:
            return None


def _to_integer(operator: Operator, operand: Expr, source: Integer, target: Integer) -> Expr:
    low, high = max(source.low, target.low), min(source.high, target.high)
    bounds = (low, high) if low <= high else (target.low, target.high)
    fits = target.contains(source)
    return Operation(operator, (operand,), Integer(target.is_signed, *bounds), can_fail=not fits)


def _to_double(operands: Sequence[Expr]) -> Expr | None:
    match plain(operands[0].type):
        case Integer():
            return Operation(Operator.TO_DOUBLE, tuple(operands), DOUBLE)
        case Double() as type_:
            return Operation(Operator.TO_DOUBLE, tuple(operands), type_)
        case Simple.STRING:
            return Operation(Operator.TO_DOUBLE, tuple(operands), DOUBLE, can_fail=True)
        case _:
            return None


def _to_string(operands: Sequence[Expr]) -> Expr | None:
    type_ = plain(operands[0].type)
    if isinstance(type_, Integer | Double) or type_ in (Simple.STRING, Simple.BOOL, Simple.BYTES):
        can_fail = type_ is Simple.BYTES
        return Operation(Operator.TO_STRING, tuple(operands), Simple.STRING, can_fail=can_fail)
    return None


def _to_bytes(operands: Sequence[Expr]) -> Expr | None:
    if plain(operands[0].type) in (Simple.STRING, Simple.BYTES):
        return Operation(Operator.TO_BYTES, tuple(operands), Simple.BYTES)
    return None


_MACROS = frozenset(ARGUMENTS)
_SIZED = "a string, bytes, a list or a map"
_NUMBERS = "a list of numbers"
_GLOBAL: Mapping[str, Function] = {
    "size": Function(1, _size, _SIZED),
    "int": Function(1, _to_int, "a number, a string or an enum"),
    "uint": Function(1, _to_uint, "a number or a string"),
    "double": Function(1, _to_double, "a number or a string"),
    "string": Function(1, _to_string, "a number, a bool or bytes"),
    "bytes": Function(1, _to_bytes, "a string"),
    "sum": Function(
        1, lambda operands: total(operands[0]), f"{_NUMBERS}, as in sum(input.items.map(i, i.quantity))"
    ),
    "min": Function(1, lambda operands: extreme(Operator.MIN, operands[0]), f"{_NUMBERS}, as in min([a, b])"),
    "max": Function(1, lambda operands: extreme(Operator.MAX, operands[0]), f"{_NUMBERS}, as in max([a, b])"),
}
_CONVERSIONS = frozenset({"int", "uint", "double", "string", "bytes"})
_METHODS: Mapping[str, Function] = {
    "size": Function(1, _size, _SIZED),
    "contains": Function(2, _text_test(Operator.CONTAINS), "strings"),
    "startsWith": Function(2, _text_test(Operator.STARTS_WITH), "strings"),
    "endsWith": Function(2, _text_test(Operator.ENDS_WITH), "strings"),
}
FUNCTIONS = frozenset({*_GLOBAL, *_METHODS})
"""The names of all functions that are no macros."""
