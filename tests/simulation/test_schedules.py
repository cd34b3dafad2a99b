"""The shortest schedules of what simulated sagas once broke, each as a small saga in a few worlds."""

import pytest
from invariants import after_each_write, at_the_end
from made_up_sagas import always, block, call, loop, never, saga_of, wait
from participants import Weather
from stormy_worlds import stormy_world
from world import Plan, World

from sagagen.runtime.model.definition import Saga
from sagagen.runtime.saga.events import SagaStatus


def ends(saga: Saga, *, seeds: int = 1, slowest_s: float = 0.2) -> set[SagaStatus]:
    """How the saga ends where nothing fails but that messages take up to `slowest_s` seconds."""
    found: set[SagaStatus] = set()
    for seed in range(seeds):
        still = Weather(fails=0, loses=0, doubles=0, slowest_s=slowest_s, straggles=0)
        world = World(Plan(saga, seed, weather=still, dies=0, refuses=0), [after_each_write]).run()
        assert at_the_end(world) == [], "\n".join(world.trace)
        found |= {gateway.history.status for gateway in world.gateways if gateway.history}
    return found


def test_a_wait_without_an_end_waits_until_the_deadline() -> None:
    assert ends(saga_of(call("one"), wait("go", within_s=None), deadline_s=20)) == {SagaStatus.COMPENSATED}


def test_a_block_whose_condition_holds_is_planned_once() -> None:
    saga = saga_of(block("both", [call("one")], [call("two")], when=always))
    assert ends(saga) == {SagaStatus.COMPLETED}


@pytest.mark.parametrize("items", [0, 1, 3])
def test_a_loop_that_answers_is_planned_as_a_whole(items: int) -> None:
    assert ends(saga_of(loop("each", items), call("last"), after="each")) == {SagaStatus.COMPLETED}
    skipped = saga_of(loop("each", items, when=never), after="each")
    assert ends(skipped) == {SagaStatus.COMPLETED}


def test_a_call_is_in_doubt_when_a_wait_beside_it_turns_the_saga_back() -> None:
    saga = saga_of(block("both", [call("one")], [wait("go", within_s=1.0)]))
    assert ends(saga, seeds=20, slowest_s=2.0) == {SagaStatus.COMPENSATED}


def test_what_a_loop_released_stays_so_when_a_stuck_item_is_freed() -> None:
    """The first item is held, the second has its place, and an operator cancels: the second is in doubt too."""
    saga = saga_of(loop("each", 3, at_once=1), call("last"))
    for number in range(60):
        world = stormy_world(number, saga, meddles=True).run()
        assert at_the_end(world) == [], "\n".join(world.trace)


def test_a_client_is_not_told_of_a_cancel_of_a_run_that_owns_nothing() -> None:
    """An operator cancelled the run that does not own the saga; the other one completes."""
    for number in range(60):
        world = stormy_world(number, saga_of(call("one")), gateways=2, meddles=True, cancels=1.0).run()
        assert at_the_end(world) == [], "\n".join(world.trace)
