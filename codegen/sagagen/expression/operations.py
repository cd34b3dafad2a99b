"""Writes operations as Python: Python's operators if they do the same as CEL's, otherwise a helper of the runtime."""

from typing import Protocol

from sagagen.expression import tree
from sagagen.expression.literals import INT64_LOW
from sagagen.expression.python_code import Code, Precedence, call, infix
from sagagen.expression.tree import Expr, Operation, Operator
from sagagen.expression.types import INT, Double, EnumType, Integer, ListType, Simple, Wrapper, plain

_ARITHMETIC = {
    Operator.ADD: ("+", Precedence.SUM),
    Operator.SUBTRACT: ("-", Precedence.SUM),
    Operator.MULTIPLY: ("*", Precedence.PRODUCT),
}
_COMPARISONS = {
    Operator.EQUAL: "==",
    Operator.NOT_EQUAL: "!=",
    Operator.LESS: "<",
    Operator.LESS_OR_EQUAL: "<=",
    Operator.GREATER: ">",
    Operator.GREATER_OR_EQUAL: ">=",
    Operator.IN: "in",
}
_OPPOSITES = {Operator.EQUAL: Operator.NOT_EQUAL, Operator.NOT_EQUAL: Operator.EQUAL}


class Operands(Protocol):
    """Writes operands, and calls of the runtime's helpers."""

    def value(self, expr: Expr) -> Code: ...

    def optional(self, expr: Expr) -> Code: ...

    def helper(self, name: str, *arguments: str) -> Code: ...


def is_range_checked(expr: Operation) -> bool:
    """Whether it can fail only because the result does not fit its type, which is checked around it."""
    return expr.operator in _ARITHMETIC or expr.operator is Operator.NEGATE


def write_operation(expr: Operation, writer: Operands) -> Code:
    """`expr`, which is not a NOT."""
    match expr.operator:
        case Operator.EQUAL | Operator.NOT_EQUAL:
            return _equality(expr, expr.operator, writer)
        case operator if operator in _COMPARISONS:
            left, right = (writer.value(operand) for operand in expr.operands)
            return infix(left, _COMPARISONS[operator], right, Precedence.COMPARISON)
        case operator if operator in _ARITHMETIC:
            left, right = (writer.value(operand) for operand in expr.operands)
            spelling, precedence = _ARITHMETIC[operator]
            return _in_range(infix(left, spelling, right, precedence), expr, writer)
        case Operator.NEGATE:
            operand = writer.value(expr.operands[0]).at_least(Precedence.PRIMARY)
            return _in_range(Code(f"-{operand}", Precedence.SIGN), expr, writer)
        case Operator.DIVIDE | Operator.REMAINDER:
            return _division(expr, writer)
        case Operator.CONCATENATE:
            return _concatenation(expr, writer)
        case _:
            return _function(expr, writer)


def write_negation(operand: Expr, writer: Operands) -> Code:
    """`!operand`, written with the opposite operator if there is one. `!(a < b)` is not `a >= b`, because of NaN."""
    match operand:
        case Operation(Operator.EQUAL | Operator.NOT_EQUAL as operator):
            return _equality(operand, _OPPOSITES[operator], writer)
        case Operation(Operator.IN, (left, right)):
            return infix(writer.value(left), "not in", writer.value(right), Precedence.COMPARISON)
        case _:
            return Code(f"not {writer.value(operand).at_least(Precedence.SUM)}", Precedence.NOT)


def _equality(expr: Operation, operator: Operator, writer: Operands) -> Code:
    left, right = expr.operands
    if isinstance(left, tree.Constant) and (left.value is None or isinstance(left.value, bool)):
        left, right = right, left
    # A wrapper that is unset is null, and equal to nothing else: its default must not take part.
    is_nullable = isinstance(left.type, Wrapper) or isinstance(right.type, Wrapper)
    written = writer.optional if is_nullable else writer.value
    is_equal = operator is Operator.EQUAL
    if isinstance(right, tree.Constant) and (
        right.value is None or (right.value in (True, False) and is_nullable)
    ):
        return infix(written(left), "is" if is_equal else "is not", written(right), Precedence.COMPARISON)
    if isinstance(right, tree.Constant) and isinstance(right.value, bool):
        return written(left) if right.value is is_equal else write_negation(left, writer)
    return infix(written(left), _COMPARISONS[operator], written(right), Precedence.COMPARISON)


def _in_range(code: Code, expr: Operation, writer: Operands) -> Code:
    """With a check for overflow, unless the range of the operands excludes it."""
    if not expr.can_fail:
        return code
    return writer.helper("int64" if expr.type == INT else "uint64", code.text)


def _division(expr: Operation, writer: Operands) -> Code:
    left, right = (writer.value(operand) for operand in expr.operands)
    dividend, divisor = (plain(operand.type) for operand in expr.operands)
    is_quotient = expr.operator is Operator.DIVIDE
    if not isinstance(dividend, Integer) or not isinstance(divisor, Integer):
        constant = expr.operands[1]
        if isinstance(constant, tree.Constant) and constant.value != 0.0:
            return infix(left, "/", right, Precedence.PRODUCT)
        return writer.helper("divide", left.text, right.text)
    if dividend.low >= 0 and divisor.low > 0:
        return infix(left, "//" if is_quotient else "%", right, Precedence.PRODUCT)
    code = writer.helper("quotient" if is_quotient else "remainder", left.text, right.text)
    # The one quotient that does not fit: -2**63 / -1.
    overflows = is_quotient and dividend.low == INT64_LOW and divisor.low <= -1 <= divisor.high
    return writer.helper("int64", code.text) if overflows else code


def _concatenation(expr: Operation, writer: Operands) -> Code:
    left, right = expr.operands
    if not isinstance(expr.type, ListType):
        return infix(writer.value(left), "+", writer.value(right), Precedence.SUM)
    return Code(f"[{', '.join([*_spread(left, writer), *_spread(right, writer)])}]")


def _spread(expr: Expr, writer: Operands) -> list[str]:
    """The parts of a list display that hold the elements of a list."""
    match expr:
        case tree.ListOf(items):
            return [writer.value(item).text for item in items]
        case Operation(Operator.CONCATENATE, (left, right)):
            return [*_spread(left, writer), *_spread(right, writer)]
        case _:
            return [f"*{writer.value(expr).at_least(Precedence.OR)}"]


def _function(expr: Operation, writer: Operands) -> Code:
    operands = [writer.value(operand) for operand in expr.operands]
    texts = [operand.text for operand in operands]
    receiver = operands[0].at_least(Precedence.PRIMARY)
    match expr.operator:
        case Operator.SIZE:
            return call("len", *texts)
        case Operator.SUM:
            return _sum(expr, operands[0], writer)
        case Operator.MIN | Operator.MAX as kind:
            return writer.helper("least_of" if kind is Operator.MIN else "greatest_of", *texts)
        case Operator.CONTAINS:
            return infix(operands[1], "in", operands[0], Precedence.COMPARISON)
        case Operator.STARTS_WITH:
            return call(f"{receiver}.startswith", texts[1])
        case Operator.ENDS_WITH:
            return call(f"{receiver}.endswith", texts[1])
        case Operator.ITEM:
            return writer.helper("item_at", *texts)
        case Operator.LOOKUP:
            return writer.helper("value_at", *texts)
        case _:
            return _conversion(expr, operands[0], writer)


def _sum(expr: Operation, numbers: Code, writer: Operands) -> Code:
    """Python's `sum` adds doubles in its own way (3.12 and later), and knows no overflow."""
    if isinstance(expr.type, Double):
        return writer.helper("double_sum", numbers.text)
    if not expr.can_fail:
        return call("sum", numbers.text)
    return writer.helper("int64_sum" if expr.type == INT else "uint64_sum", numbers.text)


def _conversion(expr: Operation, operand: Code, writer: Operands) -> Code:
    source = plain(expr.operands[0].type)
    if source == expr.type:
        return operand
    match expr.operator:
        case Operator.TO_SECONDS:
            return call(f"{operand.at_least(Precedence.PRIMARY)}.total_seconds")
        case Operator.TO_MILLISECONDS:
            return writer.helper("milliseconds_of", operand.text)
        case Operator.TO_INT | Operator.TO_UINT:
            return _to_integer(expr, operand, writer)
        case Operator.TO_DOUBLE:
            return (
                writer.helper("string_to_double", operand.text)
                if source is Simple.STRING
                else call("float", operand.text)
            )
        case Operator.TO_STRING:
            return _to_string(expr, operand, writer)
        case _:
            return call(f"{operand.at_least(Precedence.PRIMARY)}.encode")


def _to_integer(expr: Operation, operand: Code, writer: Operands) -> Code:
    name = expr.operator.value
    match plain(expr.operands[0].type):
        case Integer():
            return writer.helper(f"{name}64", operand.text) if expr.can_fail else operand
        case EnumType():
            return call("int", operand.text)
        case Double():
            return writer.helper(f"double_to_{name}", operand.text)
        case _:
            return writer.helper(f"string_to_{name}", operand.text)


def _to_string(expr: Operation, operand: Code, writer: Operands) -> Code:
    match plain(expr.operands[0].type):
        case Integer():
            return call("str", operand.text)
        case Simple.BOOL:
            text = f'"true" if {operand.at_least(Precedence.OR)} else "false"'
            return Code(text, Precedence.CONDITIONAL)
        case Simple.BYTES:
            return writer.helper("bytes_to_string", operand.text)
        case _:
            return writer.helper("double_to_string", operand.text)
