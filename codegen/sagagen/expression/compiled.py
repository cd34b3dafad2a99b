"""An expression that was checked, and what others ask of it."""

from dataclasses import dataclass, field

from sagagen.expression.canonical import canonical
from sagagen.expression.tree import Expr, StepResponse, walk


@dataclass(frozen=True, slots=True)
class CompiledExpr:
    """What to compute, and how: checked, typed, immutable."""

    root: Expr
    text: str = field(default="", kw_only=True, compare=False)
    """As the contract has it, on one line; empty where it was put together from several."""

    @property
    def steps_read(self) -> frozenset[str]:
        """The steps whose responses it reads."""
        return frozenset(node.step for node in walk(self.root) if isinstance(node, StepResponse))

    def canonical(self) -> str:
        """Only the meaning, for the saga's digest."""
        return canonical(self.root)
