"""What is known of steps where a condition has decided: `has(steps.x)` before `?`, left of `&&`, or in a `when`."""

from sagagen.expression.tree import (
    Conditional,
    Connective,
    Constant,
    Expr,
    HasResponse,
    Logic,
    Operation,
    Operator,
)

Known = frozenset[str] | None
"""Steps whose response is there; None where it never comes to that."""


def guards(root: Expr) -> frozenset[str]:
    """The steps that are there for certain if the condition `root` holds: for `Environment.guaranteed`."""
    return known_where(root, holds=True) or frozenset()


def known_where(expr: Expr, *, holds: bool) -> Known:
    """The steps whose response is there if `expr`, a bool, is `holds`."""
    match expr:
        case HasResponse(step):
            return frozenset({step}) if holds else frozenset()
        case Constant(value):
            return frozenset() if value is holds else None
        case Operation(Operator.NOT, (operand,)):
            return known_where(operand, holds=not holds)
        case Operation(Operator.EQUAL | Operator.NOT_EQUAL as operator, (operand, Constant(bool() as value))):
            return known_where(operand, holds=(value is holds) is (operator is Operator.EQUAL))
        case Logic(connective, left, right):
            sides = known_where(left, holds=holds), known_where(right, holds=holds)
            return both(*sides) if (connective is Connective.AND) is holds else _either(*sides)
        case Conditional(condition, then, otherwise):
            return _either(
                both(known_where(condition, holds=True), known_where(then, holds=holds)),
                both(known_where(condition, holds=False), known_where(otherwise, holds=holds)),
            )
        case _:
            return frozenset()


def both(left: Known, right: Known) -> Known:
    return None if left is None or right is None else left | right


def _either(left: Known, right: Known) -> Known:
    if left is None or right is None:
        return right if left is None else left
    return left & right
