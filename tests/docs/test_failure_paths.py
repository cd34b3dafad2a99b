"""The failure table is complete, and its order is the engine's: sagas of any shape, each element, each way to fail."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from grpclib.const import Status as Code
from hypothesis import HealthCheck, given, settings
from made_up_trees import sagas

from sagagen.contract.model import Element, Saga, Step, Wait
from sagagen.emit.docs_failures import failure_rows
from sagagen.emit.failure_paths import ITEMS, Fault, Play, SideBySide, Undoing, WayBack, failure_paths
from sagagen.emit.on_paper import on_paper
from sagagen.emit.saga_tree import every
from sagagen.runtime.model.definition import Direction, ForEach, StepKind
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import GetStuck, GiveUp, Pause, StepCall, TurnBack
from sagagen.runtime.saga.events import (
    Cancelled,
    Failed,
    LogEvent,
    NextRequest,
    Outcome,
    Planned,
    TimedOut,
    TimeUp,
)
from sagagen.runtime.saga.history import History
from sagagen.runtime.scope import item_key, step_name

ANY_SHAPE = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Watched(Play):
    """A play of which is written down which steps the engine undoes side by side, and what was undone before."""

    offered: list[tuple[frozenset[str], frozenset[str]]] = field(
        default_factory=list[tuple[frozenset[str], frozenset[str]]]
    )

    def go_on(self, calls: Sequence[StepCall], pauses: Sequence[Pause]) -> None:
        if calls and calls[0].direction is Direction.COMPENSATION:
            offered = frozenset(step_name(call.key) for call in calls)
            self.offered.append((offered, frozenset(self.undone) - offered))
        super().go_on(calls, pauses)


def heads(way: WayBack, done: frozenset[str]) -> frozenset[str]:
    """What may be undone next on a way back, when these steps are undone."""
    for each in way:
        match each:
            case Undoing(step, is_left):
                found = frozenset[str]() if is_left or step in done else frozenset({step})
            case SideBySide(branches):
                found = frozenset[str]().union(*(heads(branch, done) for branch in branches))
        if found:
            return found
    return frozenset()


@ANY_SHAPE
@given(sagas())
def test_the_way_back_is_the_order_in_which_the_engine_undoes(saga: Saga) -> None:
    reason = saga.cancel.reason if saga.cancel else ""
    for (step, fault), path in failure_paths(saga).items():
        play = Watched(on_paper(saga), step, fault, reason)
        assert play.run(saga) == path
        assert all(offered == heads(path.back, done) for offered, done in play.offered)


@ANY_SHAPE
@given(sagas())
def test_each_path_begins_with_the_element_that_fails(saga: Saga) -> None:
    reason = saga.cancel.reason if saga.cancel else ""
    for step, fault in failure_paths(saga):
        play = Play(on_paper(saga), step, fault, reason)
        play.run(saga)
        if play.history.turned_back:
            assert step_name(play.history.turned_back.failure.step) == step
        else:
            over = {step_name(key) for key in (*play.history.settled, *play.history.stuck)}
            assert step in over


@ANY_SHAPE
@given(sagas())
def test_there_is_a_row_for_each_element_and_way_to_fail(saga: Saga) -> None:
    paths = failure_paths(saga)
    assert set(paths) == set(everything_that_may_go_wrong(saga))
    assert len([*failure_rows(saga, paths)]) == len(paths)


def everything_that_may_go_wrong(saga: Saga) -> Iterator[tuple[str, Fault]]:
    """What changes a saga's way, as the engine decides it: each bad row at each element, when that is under way."""
    for element in every(saga.steps):
        for fault, rows in bad_rows(saga, element).items():
            before = until(saga, element, is_planned=fault is not Fault.NOT_BUILT)
            decision = decide(on_paper(saga), before.with_rows(rows)) if before else None
            is_over = isinstance(element, Wait) and fault is Fault.TIMED_OUT
            if is_over or isinstance(decision, TurnBack | GiveUp | GetStuck):
                yield element.name, fault


def bad_rows(saga: Saga, element: Element) -> Mapping[Fault, Sequence[LogEvent]]:
    """What the engine may have to write of an element that the contract describes so."""
    is_loop = isinstance(element, Step) and element.for_each
    key = item_key(element.name, ITEMS[-1]) if is_loop else element.name
    time_up = TimeUp(at_ms=0, step=key, direction=Direction.ACTION)
    found: dict[Fault, Sequence[LogEvent]] = {}
    if isinstance(element, Step):
        is_recorded = element.kind is not StepKind.RETRIABLE or element.gives_up
        found[Fault.DECLINED] = [failed(key, Outcome.REFUSED)] if is_recorded else [failed(key), time_up]
        found[Fault.NO_ANSWER] = [failed(key), time_up]
    elif isinstance(element, Wait):
        found |= {Fault.DECLINED: [failed(key, Outcome.REFUSED)]} if element.decline else {}
        found |= {Fault.TIMED_OUT: [TimedOut(at_ms=0, step=key)]} if element.within_s else {}
    is_bounded = getattr(element, "at_most_s", None) is not None or bool(getattr(element, "for_each", None))
    if is_bounded:
        plan = NextRequest(step=element.name, problem="it is too much")
        found[Fault.NOT_BUILT] = [Planned(at_ms=0, next=plan)]
    if not isinstance(element, Step):
        found[Fault.LATE] = [time_up]
    if saga.cancel:
        found[Fault.CANCELLED] = [Cancelled(at_ms=0, reason="NO_LONGER_WANTED")]
    return found


def failed(key: str, outcome: Outcome = Outcome.DOUBT) -> Failed:
    return Failed(
        at_ms=0,
        step=key,
        direction=Direction.ACTION,
        attempt=1,
        outcome=outcome,
        code=Code.FAILED_PRECONDITION,
    )


class Reached(Exception):
    """Nothing but the element is left to do."""


@dataclass
class Until(Play):
    """A play that ends before the element fails."""

    is_planned: bool = True

    def plan(self, name: str, loop: ForEach | None) -> None:
        if name == self.step and not self.is_planned:
            raise Reached
        super().plan(name, loop)

    def fail_call(self, call: StepCall) -> None:
        raise Reached

    def fail_pause(self, pause: Pause) -> None:
        raise Reached


def until(saga: Saga, element: Element, *, is_planned: bool) -> History | None:
    """The history when nothing but this element is left to do; None for a block, which is never under way itself."""
    play = Until(on_paper(saga), element.name, Fault.NO_ANSWER, "", is_planned=is_planned)
    with suppress(Reached):
        play.run(saga)
        return None
    return play.history
