"""The invariants of sagas, in made-up worlds: `world` says what is real in them, and `invariants` what must hold.

By default some hundred sagas; SAGAGEN_SIM_ROUNDS=10000 tries so many of each kind. A failure shows the number of its
world: `stormy_world(number, ...).run()` is the same world again.
"""

from collections import Counter
from typing import Any

import pytest
from stormy_worlds import broken_in, stormy_world, told
from thorough import SIM_ROUNDS

from sagagen.runtime.saga.events import SagaStatus

KINDS: dict[str, dict[str, Any]] = {
    "one gateway": {},
    "operators": {"meddles": True},
    "two gateways": {"gateways": 2},
    "two gateways and operators": {"gateways": 2, "meddles": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_invariants_hold_in_any_world(kind: str) -> None:
    ends: Counter[str] = Counter()
    deaths = 0
    for number in range(SIM_ROUNDS):
        world = stormy_world(number, **KINDS[kind]).run()
        broken = broken_in(world)
        assert not broken, told(number, world, broken)
        ends.update(str(gateway.history.status) for gateway in world.gateways if gateway.history)
        deaths += sum(gateway.deaths for gateway in world.gateways)
    print(f"{kind}: {SIM_ROUNDS} sagas, {deaths} deaths of processes, ends: {dict(ends)}")
    assert deaths > SIM_ROUNDS / 10
    assert {SagaStatus.COMPLETED, SagaStatus.COMPENSATED} <= ends.keys()
