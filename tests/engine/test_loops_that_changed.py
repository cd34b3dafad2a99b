"""A loop whose list is another one by the time that its items are undone: a definition that was forced in its place."""

from dataclasses import replace
from pathlib import Path

from engine_world import World
from small_mesh import SAGA_ID, ManualClock, Text, acceptance, saga
from test_structure import WAIT, by_word, delivery, ended, event, is_parked, live, loop
from waiting import eventually_async

from sagagen.runtime.model.definition import Direction, Saga
from sagagen.runtime.saga.commands import Act, OperatorCommand
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.history import fold
from sagagen.runtime.scope import Scope


def first_word(scope: Scope[Text]) -> list[str]:
    return scope.input.value.split()[:1]


def definition(*, of_the_first_word: bool = False) -> Saga:
    reserve = loop("reserve", by_word)
    assert reserve.for_each
    if of_the_first_word:
        reserve = replace(reserve, for_each=replace(reserve.for_each, items=first_word))
    return saga(reserve, WAIT, events=(event(),), deadline_s=3600.0, respond_after="acceptance")


async def test_an_item_that_is_gone_is_stuck_and_says_why_until_its_list_is_back(tmp_path: Path) -> None:
    path, world = tmp_path / "saga-log.db", World(ManualClock())
    async with live(path, definition(), world) as (running, log):
        await running.accept(acceptance(definition(), input="a b"))
        await eventually_async("it is parked", lambda: is_parked(running, log))
    async with live(path, definition(of_the_first_word=True), world) as (running, log):
        await running.deliver(delivery(value="no"))
        assert await ended(running) is SagaStatus.STUCK
        logged = await log.find(SAGA_ID)
        assert logged
        (stuck,) = fold(logged.rows).stuck.values()
        assert (stuck.failure.step, stuck.failure.reason) == ("reserve[b]", "REQUEST_NOT_BUILT")
        assert "the list of reserve has no item 'b' any more" in stuck.failure.message
        assert world.done(Direction.COMPENSATION) == ["reserve[a]"], "the others go on"
    async with live(path, definition(), world) as (running, _):
        await running.command(SAGA_ID, OperatorCommand(Act.RETRY, "ann", "the list is back"))
        assert await ended(running) is SagaStatus.COMPENSATED
    assert world.done(Direction.COMPENSATION) == ["reserve[a]", "reserve[b]"]
