"""Pieces of Python text with their precedence, so that parentheses appear only where they are needed."""

from dataclasses import dataclass
from enum import IntEnum


class Precedence(IntEnum):
    """Python's precedences, loosest first (language reference, 6.17)."""

    LAMBDA = 0
    CONDITIONAL = 1
    OR = 2
    AND = 3
    NOT = 4
    COMPARISON = 5
    SUM = 6
    PRODUCT = 7
    SIGN = 8
    PRIMARY = 9


@dataclass(frozen=True, slots=True)
class Code:
    text: str
    precedence: Precedence = Precedence.PRIMARY

    def at_least(self, precedence: Precedence) -> str:
        """The text, in parentheses if it binds looser than `precedence`."""
        return self.text if self.precedence >= precedence else f"({self.text})"


def call(function: str, *arguments: str) -> Code:
    return Code(f"{function}({', '.join(arguments)})")


def infix(left: Code, operator: str, right: Code, precedence: Precedence) -> Code:
    """A left-associative operator; comparisons never chain, since that means something else in Python."""
    is_comparison = precedence is Precedence.COMPARISON
    tighter = Precedence(precedence + 1)
    text = f"{left.at_least(tighter if is_comparison else precedence)} {operator} {right.at_least(tighter)}"
    return Code(text, precedence)


def constant(value: int | float | str | bytes | bool | None) -> Code:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return call("float", f'"{value}"')
    is_negative = isinstance(value, int | float) and repr(value).startswith("-")
    return Code(repr(value), Precedence.SIGN if is_negative else Precedence.PRIMARY)
