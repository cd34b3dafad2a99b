"""The runtime with one rule taken out: what the worlds are to notice."""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import pytest
from stormy_worlds import broken_in, stormy_world

from sagagen.runtime.model.definition import Saga


@dataclass(frozen=True)
class Rule:
    """A rule, as the text of a function of the runtime that keeps it, and the same text without it."""

    name: str
    owner: Any
    """The class or module of the function."""
    function: str
    was: str
    now: str
    saga: Saga | None = None
    """One that shows it soon; None: any."""
    world: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """More of what `stormy_world` takes."""

    def take_out(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(self.owner, self.function, self.changed())

    def changed(self) -> Callable[..., Any]:
        original: FunctionType = inspect.unwrap(getattr(self.owner, self.function))
        text = textwrap.dedent(inspect.getsource(original))
        assert text.count(self.was) == 1, f"{self.name}: {self.function} reads otherwise now:\n{text}"
        made: dict[str, Any] = {}
        exec(
            compile(text.replace(self.was, self.now), original.__code__.co_filename, "exec"),
            original.__globals__,
            made,
        )
        return made[self.function]


def notices(rule: Rule, worlds: int) -> bool:
    """Whether an invariant is broken in one of so many worlds."""
    return any(broken_in(stormy_world(number, rule.saga, **rule.world).run()) for number in range(worlds))
