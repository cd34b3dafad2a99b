"""What changed between two definitions of one version of a saga: which elements it has, where, and what each is."""

from collections.abc import Iterator

from sagagen.compatibility.change import Change, Reach
from sagagen.compatibility.matching import Matching, matched
from sagagen.compatibility.order import moved, pivot_moved, pivot_of, rearranged, reordered, waits_swapped
from sagagen.compatibility.pair import Pair, difference, is_same
from sagagen.compatibility.presence import added, gone
from sagagen.compatibility.rules import steps as step_rules
from sagagen.compatibility.steps import compare_step
from sagagen.compatibility.tree import Tree, noun
from sagagen.compatibility.waits import compare_delay, compare_wait
from sagagen.contract.model import Delay, Element, Parallel, Saga, Step, Wait
from sagagen.runtime.model.definition import StepKind


def compare_elements(old: Saga, new: Saga) -> Iterator[Change]:
    """Both have the same name and version."""
    matching = matched(Tree.of(old), Tree.of(new))
    yield from _renamed(new, matching)
    yield from gone(old, new, matching)
    yield from added(old, new, matching)
    yield from moved(old, new, matching)
    yield from reordered(old, new, matching)
    yield from rearranged(new, matching)
    yield from waits_swapped(old, new)
    yield from pivot_moved(old, new)
    for name, place in matching.new.places.items():
        if name in matching.old.places:
            yield from _compare(Pair(old, new, matching.old.places[name].element, place.element))


def _renamed(new: Saga, matching: Matching) -> Iterator[Change]:
    for was, now in matching.now.items():
        if was != now:
            element = matching.new.places[now].element
            message = f"{noun(element)} {was} is now called {now}"
            yield Change.of(step_rules.STEP_RENAMED, element.span, f"{new.name}/{was}", message)


def _compare(pair: Pair[Element]) -> Iterator[Change]:
    was, now = _sort(pair.was), _sort(pair.now)
    if was != now:
        yield pair.change(step_rules.ELEMENT_REPLACED, f"{was} -> {now}", Reach.OWES_STEP)
        return
    yield from _kind(pair)
    if not is_same(pair.was.when, pair.now.when):
        message = difference("when", pair.was.when, pair.now.when)
        yield pair.change(step_rules.CONDITION_CHANGED, message, Reach.BEFORE_STEP)
    match pair.was, pair.now:
        case Step() as step, Step() as step_now:
            yield from compare_step(Pair(pair.old, pair.new, step, step_now))
        case Wait() as wait, Wait() as wait_now:
            yield from compare_wait(Pair(pair.old, pair.new, wait, wait_now))
        case Delay() as delay, Delay() as delay_now:
            yield from compare_delay(Pair(pair.old, pair.new, delay, delay_now))
        case _:
            pass  # a block is what its branches are


def _sort(element: Element) -> str:
    """What it is, in the words of saga.yaml."""
    match element:
        case Step():
            return "loop" if element.for_each else "call"
        case Parallel():
            return "parallel"
        case Wait() | Delay():
            return noun(element)


def _kind(pair: Pair[Element]) -> Iterator[Change]:
    """The kind of a block is that of its steps."""
    was, now = pair.was.kind, pair.now.kind
    is_moved_pivot = StepKind.PIVOT in {was, now} and pivot_of(pair.old) and pivot_of(pair.new)
    if was is not now and not is_moved_pivot and not isinstance(pair.now, Parallel):
        yield pair.change(step_rules.KIND_CHANGED, f"{was.value} -> {now.value}")
