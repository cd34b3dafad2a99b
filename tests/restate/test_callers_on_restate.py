"""How many sagas a caller has under way: what Restate counts, and what a gateway knows itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.restate.callers import LETS_IN_S, REFUSES_S, ActiveOfCallers
from sagagen.runtime.restate.client import Unreachable


@dataclass
class Everywhere:
    active: dict[str, int] = field(default_factory=dict[str, int])
    asked: int = 0
    is_away: bool = False

    async def __call__(self) -> Mapping[str, int]:
        self.asked += 1
        if self.is_away:
            raise Unreachable("away")
        return dict(self.active)


@pytest.fixture
def everywhere() -> Everywhere:
    return Everywhere()


async def test_whoever_has_all_they_may_have_is_refused_after_a_fresh_look(everywhere: Everywhere) -> None:
    now_s, here = 0.0, {"ann": 0}
    limit = ActiveOfCallers(2, everywhere, lambda caller: here.get(caller, 0), lambda: now_s)
    everywhere.active = {"ann": 1}
    assert not await limit.is_full("ann")
    everywhere.active = {"ann": 2}
    now_s = LETS_IN_S - 0.1
    assert not await limit.is_full("ann"), "it was counted a moment ago"
    here["ann"] = 2
    assert await limit.is_full("ann"), "what this gateway has under way it knows"
    assert everywhere.asked == 2
    here["ann"], everywhere.active = 0, {}
    assert await limit.is_full("ann"), "whoever asks again and again is not counted each time"
    now_s += REFUSES_S
    assert not await limit.is_full("ann")
    assert everywhere.asked == 3


async def test_others_and_nobody_in_particular_are_let_in(everywhere: Everywhere) -> None:
    limit = ActiveOfCallers(1, everywhere, lambda _: 0)
    everywhere.active = {"ann": 9, ANONYMOUS: 9}
    assert [await limit.is_full(caller) for caller in ("ann", "bob", ANONYMOUS, "")] == [
        True,
        False,
        False,
        False,
    ]


async def test_without_restates_sql_each_gateway_counts_its_own(everywhere: Everywhere) -> None:
    everywhere.is_away = True
    limit = ActiveOfCallers(1, everywhere, lambda caller: {"ann": 1}.get(caller, 0))
    assert (await limit.is_full("ann"), await limit.is_full("bob")) == (True, False)
