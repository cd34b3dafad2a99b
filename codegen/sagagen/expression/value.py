"""A single value of the contract, such as a condition or a key: checked, typed, immutable."""

from dataclasses import dataclass

from sagagen.expression.canonical import canonical
from sagagen.expression.tree import Expr, StepResponse, walk
from sagagen.expression.types import Type


@dataclass(frozen=True, slots=True)
class ValueExpr:
    """A single value and how to compute it."""

    root: Expr

    @property
    def steps_read(self) -> frozenset[str]:
        """The steps whose responses it reads."""
        return frozenset(node.step for node in walk(self.root) if isinstance(node, StepResponse))

    def canonical(self) -> str:
        """Only the meaning, for the saga's digest."""
        return canonical(self.root)


@dataclass(frozen=True, slots=True)
class ListExpr(ValueExpr):
    """A list, and the type of its elements."""

    element: Type
