"""Reads `--where 'customer == "ann" && total > 5000'`: comparisons of index values, and `&&`, `||`, `!` over them."""

from sagagen.expression.literals import Fault
from sagagen.expression.parser import parse
from sagagen.expression.syntax import Binary, Literal, Name, Syntax, Unary
from sagagen.runtime.saga.where import OPERATORS, Both, Comparison, Either, Negated, Value, Where

_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


class BadCondition(ValueError):
    """The text is no condition; the message says where, and what to write."""

    def __init__(self, text: str, at: int, message: str) -> None:
        super().__init__(f"{message}\n  {text}\n  {' ' * at}^")


def read_where(text: str) -> Where:
    """Raises BadCondition."""
    try:
        return _Reader(text).condition(parse(text))
    except Fault as fault:
        hint = f" ({fault.hint})" if fault.hint else ""
        raise BadCondition(text, fault.at, f"{fault.message}{hint}") from fault


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def condition(self, node: Syntax) -> Where:
        match node:
            case Unary(_, "!", operand):
                return Negated(self.condition(operand))
            case Binary(_, "&&", _, left, right):
                return Both((self.condition(left), self.condition(right)))
            case Binary(_, "||", _, left, right):
                return Either((self.condition(left), self.condition(right)))
            case Binary(_, operator, _, left, right) if operator in OPERATORS:
                return self._comparison(operator, left, right)
            case Name(_, name):
                return Comparison(name, "==", True)
            case _:
                raise self._wrong(
                    node, 'a comparison is expected here, like customer == "ann" or total > 5000'
                )

    def _comparison(self, operator: str, left: Syntax, right: Syntax) -> Comparison:
        match left, right:
            case Name(_, name), _:
                return Comparison(name, operator, self._constant(right))
            case _, Name(_, name):
                return Comparison(name, _TURNED[operator], self._constant(left))
            case _:
                raise self._wrong(left, "one side of a comparison is the name of an index value")

    def _constant(self, node: Syntax) -> Value:
        match node:
            case Literal(value=str() | bool() | int() as value):
                return value
            case Unary(_, "-", Literal(value=int() as value)) if not isinstance(value, bool):
                return -value
            case _:
                raise self._wrong(node, "a text in quotes, a whole number, true or false is expected here")

    def _wrong(self, node: Syntax, message: str) -> BadCondition:
        return BadCondition(self._text, node.at, message)
