"""The runtime with one rule taken out: what the worlds are to notice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from stormy_worlds import broken_in, stormy_world
from taken_out import taken_out

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
        taken_out(patch, self.owner, self.function, self.was, self.now)


def notices(rule: Rule, worlds: int) -> bool:
    """Whether an invariant is broken in one of so many worlds."""
    return any(broken_in(stormy_world(number, rule.saga, **rule.world).run()) for number in range(worlds))
