"""The operators: which types they take and return, and the known range of the result.

Ranges decide whether a check for overflow is emitted: the product of two int32 needs none, a sum of two int64 does.
"""

from collections.abc import Callable, Mapping

from sagagen.expression.codes import Code
from sagagen.expression.problem import Problem
from sagagen.expression.tree import Constant, EnumConstant, Expr, ListOf, Operation, Operator
from sagagen.expression.types import (
    DOUBLE,
    INT,
    UINT,
    Double,
    EnumType,
    Integer,
    ListType,
    MapType,
    MessageType,
    Simple,
    Type,
    Wrapper,
    is_comparable,
    joined,
    plain,
)

ARITHMETIC: Mapping[str, Operator] = {
    "+": Operator.ADD,
    "-": Operator.SUBTRACT,
    "*": Operator.MULTIPLY,
    "/": Operator.DIVIDE,
    "%": Operator.REMAINDER,
}
_ORDERINGS: Mapping[str, Operator] = {
    "<": Operator.LESS,
    "<=": Operator.LESS_OR_EQUAL,
    ">": Operator.GREATER,
    ">=": Operator.GREATER_OR_EQUAL,
}
_NUMERIC = frozenset({*ARITHMETIC.values(), Operator.NEGATE, Operator.SUM})
_WORDS: Mapping[Operator, str] = {
    Operator.ITEM: "selecting an element",
    Operator.LOOKUP: "looking up in a map",
    Operator.MIN: "min(...)",
    Operator.MAX: "max(...)",
    Operator.TO_INT: "int(...)",
    Operator.TO_UINT: "uint(...)",
    Operator.TO_DOUBLE: "double(...)",
    Operator.TO_STRING: "string(...)",
}
_ORDERED = (Simple.STRING, Simple.BYTES, Simple.BOOL)
_TIME = (Simple.TIMESTAMP, Simple.DURATION)

TIME = Problem(
    Code.TIME,
    "expressions do not compute with time",
    "pass timestamps and durations on unchanged, and compute them in a handler",
)


def binary(operator: str, left: Expr, right: Expr) -> Expr | Problem:
    """`left operator right`, for every operator but `&&` and `||`."""
    if left.type in _TIME or right.type in _TIME:
        return TIME
    if operator in ("==", "!="):
        return _equality(operator, left, right)
    if operator == "in":
        return _membership(left, right)
    if operator in _ORDERINGS:
        return _ordering(operator, left, right)
    return _arithmetic(operator, left, right)


def partial_problem(operation: Operation, way_out: str) -> Problem | None:
    """Why an operation is refused where building the value must never fail; all numeric operators are refused."""
    is_arithmetic = operation.operator in _NUMERIC
    if not is_arithmetic and not operation.can_fail:
        return None
    what = "arithmetic" if is_arithmetic else _WORDS[operation.operator]
    return Problem(Code.MAY_FAIL, f"{what} may fail, and it must always be possible to build this", way_out)


def index(operand: Expr, selector: Expr) -> Expr | Problem:
    """`operand[selector]`"""
    match operand.type, plain(selector.type):
        case ListType(element), Integer(True) if element:
            return Operation(Operator.ITEM, (operand, selector), element, can_fail=True)
        case MapType(key, value), wanted if key and value and key == wanted:
            return Operation(Operator.LOOKUP, (operand, selector), value, can_fail=True)
        case type_, wanted:
            message = f"[...] cannot select by {wanted} from {type_}"
            hint = "lists take an int, maps a key of their type; select fields with a dot"
            return Problem(Code.WRONG_OPERANDS, message, hint)


def invert(operand: Expr) -> Expr | Problem:
    if plain(operand.type) is Simple.BOOL:
        return Operation(Operator.NOT, (operand,), Simple.BOOL)
    return Problem(Code.WRONG_OPERANDS, f'"!" takes a bool, not {operand.type}', "compare it with something")


def negate(operand: Expr) -> Expr | Problem:
    match plain(operand.type):
        case Integer(True) as type_:
            return _integer(Operator.NEGATE, (operand,), INT, -type_.high, -type_.low)
        case Double() as type_:
            return Operation(Operator.NEGATE, (operand,), type_)
        case type_:
            return Problem(
                Code.WRONG_OPERANDS,
                f'"-" takes an int or a double, not {type_}',
                "convert it first: int(...)",
            )


def _arithmetic(operator: str, left: Expr, right: Expr) -> Expr | Problem:
    kind = ARITHMETIC[operator]
    match plain(left.type), plain(right.type):
        case Integer() as a, Integer() as b if a == b:
            return _checked(kind, left, right, a, b)
        case Double(), Double() if kind is not Operator.REMAINDER:
            return Operation(kind, (left, right), Double())
        case (Simple.STRING, Simple.STRING) | (Simple.BYTES, Simple.BYTES) if kind is Operator.ADD:
            return Operation(Operator.CONCATENATE, (left, right), plain(left.type))
        case (ListType() as a, ListType() as b) if kind is Operator.ADD and (both := joined(a, b)):
            return Operation(Operator.CONCATENATE, (left, right), both)
        case _:
            return _wrong(operator, left, right)


def _wrong(operator: str, left: Expr, right: Expr) -> Problem:
    a, b = plain(left.type), plain(right.type)
    message = f'"{operator}" does not take {a} and {b}'
    if isinstance(a, Integer | Double) and isinstance(b, Integer | Double) and a != b:
        return Problem(
            Code.WRONG_OPERANDS,
            message,
            f"types of numbers never mix: write {a}(...) or {b}(...) around one of them",
        )
    if Simple.STRING in (a, b) and operator == "+":
        return Problem(Code.WRONG_OPERANDS, message, "make both strings: string(...)")
    if isinstance(a, Double) and operator == "%":
        return Problem(Code.WRONG_OPERANDS, message, "% is for int and uint")
    return Problem(
        Code.WRONG_OPERANDS, message, "both sides must have the same type, one that the operator takes"
    )


def _checked(kind: Operator, left: Expr, right: Expr, a: Integer, b: Integer) -> Expr | Problem:
    whole = INT if a.is_signed else UINT
    if kind in (Operator.DIVIDE, Operator.REMAINDER) and b.low == b.high == 0:
        return Problem(Code.OUT_OF_RANGE, "this divides by zero", "divide by something else")
    low, high = _RANGES[kind](a, b)
    divides_by_zero = kind in (Operator.DIVIDE, Operator.REMAINDER) and b.low <= 0 <= b.high
    return _integer(kind, (left, right), whole, low, high, can_fail=divides_by_zero)


def _integer(
    kind: Operator, operands: tuple[Expr, ...], whole: Integer, low: int, high: int, *, can_fail: bool = False
) -> Expr | Problem:
    """An operation whose exact result lies in low..high; it fails if the result is outside its type."""
    if high < whole.low or low > whole.high:
        return Problem(
            Code.OUT_OF_RANGE, f"the result never fits {whole}", f"{whole} is {whole.low} to {whole.high}"
        )
    type_ = Integer(whole.is_signed, max(low, whole.low), min(high, whole.high))
    overflows = low < whole.low or high > whole.high
    return Operation(kind, operands, type_, can_fail=can_fail or overflows)


MOST_ELEMENTS = 2**31
"""No list that expressions see has more: a message has fewer bytes than that, and an element at least one."""


def total(numbers: Expr) -> Expr | None:
    """`sum(numbers)`: 0 of none, otherwise what `+` from left to right gives. None unless it is a list of numbers."""
    match numbers.type:
        case ListType(Integer() as element):
            whole = INT if element.is_signed else UINT
            low, high = min(0, element.low * MOST_ELEMENTS), max(0, element.high * MOST_ELEMENTS)
            overflows = low < whole.low or high > whole.high
            type_ = Integer(whole.is_signed, max(low, whole.low), min(high, whole.high))
            return Operation(Operator.SUM, (numbers,), type_, can_fail=overflows)
        case ListType(Double()):
            return Operation(Operator.SUM, (numbers,), DOUBLE)
        case _:
            return None


def extreme(kind: Operator, numbers: Expr) -> Expr | None:
    """`min(numbers)` and `max(numbers)`, which fail for none, and for NaN. None unless it is a list of numbers."""
    match numbers.type:
        case ListType(Integer() | Double() as element):
            has_some = isinstance(numbers, ListOf) and len(numbers.items) > 0
            is_safe = has_some and isinstance(element, Integer)
            return Operation(kind, (numbers,), element, can_fail=not is_safe)
        case _:
            return None


def _corners(combine: Callable[[int, int], int]) -> Callable[[Integer, Integer], tuple[int, int]]:
    def bounds(a: Integer, b: Integer) -> tuple[int, int]:
        values = [combine(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
        return min(values), max(values)

    return bounds


def _quotient_range(a: Integer, b: Integer) -> tuple[int, int]:
    """The dividend's range, and its mirror image if the divisor may be negative."""
    if b.low >= 0:
        return min(a.low, 0), max(a.high, 0)
    most = max(abs(a.low), abs(a.high))
    return -most, most


def _remainder_range(a: Integer, b: Integer) -> tuple[int, int]:
    """The remainder has the dividend's sign and is smaller than the divisor."""
    most = max(abs(b.low), abs(b.high), 1) - 1
    return max(min(a.low, 0), -most), min(max(a.high, 0), most)


_RANGES: Mapping[Operator, Callable[[Integer, Integer], tuple[int, int]]] = {
    Operator.ADD: _corners(lambda x, y: x + y),
    Operator.SUBTRACT: _corners(lambda x, y: x - y),
    Operator.MULTIPLY: _corners(lambda x, y: x * y),
    Operator.DIVIDE: _quotient_range,
    Operator.REMAINDER: _remainder_range,
}


def _ordering(operator: str, left: Expr, right: Expr) -> Expr | Problem:
    a, b = plain(left.type), plain(right.type)
    if a == b and (isinstance(a, Integer | Double) or a in _ORDERED):
        return Operation(_ORDERINGS[operator], (left, right), Simple.BOOL)
    return _wrong(operator, left, right)


def _equality(operator: str, left: Expr, right: Expr) -> Expr | Problem:
    if Simple.NULL in (left.type, right.type) and not _may_be_null(left.type, right.type):
        return null_problem(right.type if left.type is Simple.NULL else left.type)
    both = joined(left.type, right.type)
    if both is None:
        return _unequal_types(operator, left, right)
    if not is_comparable(both):
        hint = "use exists(...)" if isinstance(both, ListType | MapType) else "compare their fields"
        return Problem(Code.NOT_COMPARABLE, f"values of type {both} can't be compared", hint)
    if (known := _known_equality(left, right)) is not None:
        return Constant(known == (operator == "=="), Simple.BOOL)
    kind = Operator.EQUAL if operator == "==" else Operator.NOT_EQUAL
    return Operation(kind, (left, right), Simple.BOOL)


def _may_be_null(a: Type, b: Type) -> bool:
    return isinstance(a, Wrapper) or isinstance(b, Wrapper) or a is b


def null_problem(other: Type) -> Problem:
    hint = "ask with has(...)" if isinstance(other, MessageType) else "leave it out, or ask with has(...)"
    return Problem(Code.NULL, f"{other} can't be null", hint)


def _known_equality(left: Expr, right: Expr) -> bool | None:
    """Compares two constants now: a type checker would report the emitted comparison as a mistake."""
    if isinstance(left, EnumConstant) and isinstance(right, EnumConstant):
        return left.value.number == right.value.number
    if isinstance(left, Constant) and isinstance(right, Constant):
        return left.value == right.value
    return None


def _unequal_types(operator: str, left: Expr, right: Expr) -> Problem:
    problem = _wrong(operator, left, right)
    for type_ in (left.type, right.type):
        if isinstance(type_, EnumType):
            return Problem(problem.code, problem.message, f"write one of its values: {type_}.NAME")
    return problem


def _membership(left: Expr, right: Expr) -> Expr | Problem:
    match right.type:
        case ListType(element):
            wanted = element
        case MapType(key, _):
            wanted = key
        case type_:
            return Problem(
                Code.WRONG_OPERANDS,
                f'"in" looks into a list or a map, not {type_}',
                "texts have .contains(...)",
            )
    if wanted is not None and joined(plain(left.type), wanted) is None:
        return Problem(
            Code.WRONG_OPERANDS, f"{plain(left.type)} can't be in {right.type}", f"look for {wanted}"
        )
    if isinstance(wanted, Double) or not is_comparable(wanted):
        return Problem(
            Code.NOT_COMPARABLE,
            f'"in" cannot look for {wanted}',
            "ask with exists(x, ...) on a list of them",
        )
    return Operation(Operator.IN, (left, right), Simple.BOOL)
