"""An element as it was and as it is, in two definitions of one version of a saga."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from sagagen.compatibility.change import Change, Reach, Rule, Target
from sagagen.contract.model import Element, Saga
from sagagen.expression.compiled import CompiledExpr
from sagagen.source import Span

ElementT = TypeVar("ElementT", bound=Element)


@dataclass(frozen=True, slots=True)
class Pair(Generic[ElementT]):
    old: Saga
    new: Saga
    was: ElementT
    now: ElementT

    def change(self, rule: Rule, message: str, reach: Reach | None = None, at: Span | None = None) -> Change:
        """`reach`: of the open sagas that it hits; None if it hits no more of them than others."""
        target = Target(self.old.name, self.old.version, reach, self.was.name) if reach else None
        return Change.of(rule, at or self.now.span, f"{self.new.name}/{self.now.name}", message, target)


def is_same(was: CompiledExpr | None, now: CompiledExpr | None) -> bool:
    """Whether two expressions mean the same."""
    return (was and was.canonical()) == (now and now.canonical())


def difference(name: str, was: CompiledExpr | None, now: CompiledExpr | None) -> str:
    """Of two that do not: `` `when` is new``."""
    return f"`{name}` {'is new' if was is None else 'is gone' if now is None else 'says something else'}"
