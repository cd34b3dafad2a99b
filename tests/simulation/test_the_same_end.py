"""From whatever cut of its log a saga goes on, it comes to the same end.

A definition is made up, and with it what the world says: one call that is refused, or one event that declines or never
comes, or nothing at all that goes wrong. It runs once to its end, and then once for each of its writes, after which its
process ends and another one goes on from what is written.

What is the same: the status, the step that turned it back and why, which effects stand and which were undone. Time does
pass while no process runs, so left out is what a fixed answer can't fix: how far the steps had come that stand beside
the one that failed (in other branches, or of the same loop), deadlines, and budgets. What must hold of these holds in
each of the runs: the invariants are looked at, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

import pytest
from invariants import after_each_write, at_the_end
from made_up_sagas import call, made_up, saga_of
from outline import outline
from participants import Weather
from small_mesh import Text
from taken_out import taken_out
from thorough import SIM_ROUNDS
from world import Plan, World

from sagagen.runtime.engine.requests import Requests
from sagagen.runtime.model.definition import Direction, Element, Parallel, Saga, Step, StepKind, Wait, leaves
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.scope import Scope, item_key, step_name

SAGAS = max(10, SIM_ROUNDS // 10)


@dataclass(frozen=True)
class Schedule:
    """What the world says, whenever it is asked."""

    saga: Saga
    seed: int
    refused: frozenset[str]
    events: tuple[tuple[float, str, str, str], ...]

    def run(self, cut_after: int | None = None) -> World:
        still = Weather(fails=0, loses=0, doubles=0, straggles=0, slowest_s=0.2, refused=self.refused)
        plan = Plan(
            self.saga,
            self.seed,
            weather=still,
            dies=0,
            refuses=0,
            slowest_commit_s=0.05,
            longest_absence_s=1.0,
            events=self.events,
            cut_after=cut_after,
        )
        return World(plan, [after_each_write]).run()


@dataclass(frozen=True)
class SagaEnd:
    status: SagaStatus
    failed: str
    """The step that turned it back, and why."""
    stands: frozenset[str]
    undone: frozenset[str]

    def without(self, beside: frozenset[str]) -> "SagaEnd":
        def rest(keys: frozenset[str]) -> frozenset[str]:
            return frozenset(key for key in keys if step_name(key) not in beside)

        return replace(self, stands=rest(self.stands), undone=rest(self.undone))


def schedule(number: int) -> Schedule:
    random = Random(f"the same end {number}")
    saga = replace(made_up(random), deadline_s=3000.0)
    events = {each.name: "yes" for each in leaves(saga.steps) if isinstance(each, Wait)}
    for each in leaves(saga.steps):
        if isinstance(each, Wait) and each.on_timeout is None and each.within_s and random.random() < 0.3:
            del events[each.name]  # it goes on without
    refused: frozenset[str] = frozenset()
    fault = random.choice([None, *_faults(saga, events)])
    match fault:
        case Step():
            refused = frozenset({item_key(fault.name, "b") if fault.for_each else fault.name})
        case Wait() if fault.decline and random.random() < 0.5:
            events[fault.name] = "no"
        case Wait():
            del events[fault.name]
        case _:
            pass
    waits = {each.name: each.event for each in leaves(saga.steps) if isinstance(each, Wait)}
    sent = tuple((random.uniform(0, 2), waits[name], value, name) for name, value in events.items())
    return Schedule(saga, number, refused, sent)


def _faults(saga: Saga, events: dict[str, str]) -> Iterator[Element]:
    """What may turn it back, once and for one reason."""
    names = [each.event for each in leaves(saga.steps) if isinstance(each, Wait)]
    for each in leaves(saga.steps):
        match each:
            case Step(kind=StepKind.COMPENSATABLE | StepKind.PIVOT):
                yield each
            case Wait(kind=StepKind.COMPENSATABLE, on_timeout=str()) if names.count(each.event) == 1:
                if each.name in events and each.decline:
                    yield each
            case _:
                pass


def is_settled_by_answers(saga: Saga) -> bool:
    """Whether fixed answers fix its end: a manual call with few attempts may spend them while it is under way."""
    return not any(
        step.action.retry.max_attempts and str(step.action.method.transaction) == "manual"
        for step in saga.calls
    )


def end_of(world: World) -> SagaEnd:
    gateway = world.gateways[0]
    broken, history = at_the_end(world), gateway.history
    assert not broken, f"{broken}\n{outline(world.plan.saga)}\n" + "\n".join(world.trace[-80:])
    assert history
    assert history.ended
    deeds = [deed for service in world.services.values() for deed in service.deeds]
    done = {deed.step for deed in deeds if deed.direction is Direction.ACTION}
    undone = {deed.step for deed in deeds if deed.direction is Direction.COMPENSATION}
    back = history.turned_back
    failed = f"{back.failure.step}: {back.failure.reason}" if back else ""
    return SagaEnd(history.status, failed, frozenset(done - undone), frozenset(undone))


def beside(elements: Sequence[Element], name: str) -> frozenset[str]:
    """Names of the steps that go on side by side with the one of this name, its own if it is a loop's."""
    for element in elements:
        if element.name == name:
            return frozenset({name}) if isinstance(element, Step) and element.for_each else frozenset()
        if isinstance(element, Parallel):
            for branch in element.branches:
                if any(each.name == name for each in leaves(branch.steps)):
                    others = (other.steps for other in element.branches if other is not branch)
                    names = (each.name for steps in others for each in leaves(steps))
                    return beside(branch.steps, name) | frozenset(names)
    return frozenset()


def ends_of(fixed: Schedule) -> tuple[World, dict[int, SagaEnd]]:
    """The world without a cut, whose end has number 0, and the ends after each of its writes."""
    whole = fixed.run()
    first = end_of(whole)
    near = beside(fixed.saga.steps, step_name(first.failed.partition(":")[0]))
    ends = {0: first.without(near)}
    for cut in range(1, len(whole.gateways[0].disk.batches)):
        ends[cut] = end_of(fixed.run(cut)).without(near)
    return whole, ends


@pytest.mark.slow
def test_a_saga_comes_to_the_same_end_from_every_cut() -> None:
    statuses: set[SagaStatus] = set()
    cuts = 0
    for number in range(SAGAS):
        fixed = schedule(number)
        if not is_settled_by_answers(fixed.saga):
            continue
        whole, ends = ends_of(fixed)
        for cut, end in ends.items():
            told = [f"saga {number}, cut after write {cut}", outline(whole.plan.saga), *whole.trace]
            assert end == ends[0], "\n".join(told)
        statuses.add(ends[0].status)
        cuts += len(ends) - 1
    print(f"{SAGAS} sagas, {cuts} cuts")
    assert statuses == {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}


def test_what_a_process_has_in_memory_alone_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The responses that its expressions read are those of the log."""

    def is_one_done(scope: Scope[Text]) -> bool:
        return scope.has("one")

    fixed = Schedule(saga_of(call("one"), call("two"), call("three", when=is_one_done)), 0, frozenset(), ())
    assert len(set(ends_of(fixed)[1].values())) == 1
    taken_out(monkeypatch, Requests, "__init__", "dict(history.responses)", "{}")
    assert len(set(ends_of(fixed)[1].values())) == 2
