"""The invariants of sagas, in made-up worlds: `world` says what is real in them, and `invariants` what must hold.

By default some hundred sagas; SAGAGEN_SIM_ROUNDS=10000 tries so many of the first kind. A failure shows the number of
its world: `stormy_world(number).run()` is the same world again.
"""

from collections import Counter

import pytest
from stormy_worlds import broken_in, stormy_world, told
from thorough import SIM_ROUNDS

from sagagen.runtime.saga.events import SagaStatus


@pytest.mark.slow
def test_invariants_hold_in_any_world() -> None:
    ends: Counter[SagaStatus] = Counter()
    deaths = 0
    for number in range(SIM_ROUNDS):
        world = stormy_world(number).run()
        broken = broken_in(world)
        assert not broken, told(number, world, broken)
        ends.update(gateway.history.status for gateway in world.gateways if gateway.history)
        deaths += sum(gateway.deaths for gateway in world.gateways)
    print(f"{SIM_ROUNDS} sagas, {deaths} deaths of processes, ends: {dict(ends)}")
    assert deaths > SIM_ROUNDS / 10
    assert {SagaStatus.COMPLETED, SagaStatus.COMPENSATED} <= ends.keys()
