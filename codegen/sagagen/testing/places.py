"""Where an element stands: what is over before it begins, what goes on beside it, and which order undoing keeps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sagagen.runtime.model.definition import Delay, Element, Parallel, Saga, Step, StepKind, Wait, leaves

Reached = Mapping[str, tuple[str, ...]]
"""Step keys of what a saga does where nothing fails, by the element's name: `reserve` has `reserve[margherita]`."""


@dataclass(frozen=True, slots=True)
class Place:
    """An element that makes a call, or waits."""

    element: Step | Wait | Delay
    before: tuple[Element, ...]
    """Elements that are over when it begins."""
    beside: tuple[Element, ...]
    """Elements of other branches: nobody knows how far they are."""


def places(saga: Saga) -> Iterator[Place]:
    """All of a saga, in the order of the contract."""
    yield from _places(saga.steps, (), ())


def place_of(saga: Saga, name: str) -> Place:
    return next(place for place in places(saga) if place.element.name == name)


def _places(
    elements: Sequence[Element], before: tuple[Element, ...], beside: tuple[Element, ...]
) -> Iterator[Place]:
    for number, element in enumerate(elements):
        earlier = (*before, *elements[:number])
        if not isinstance(element, Parallel):
            yield Place(element, earlier, beside)
            continue
        for branch in element.branches:
            others = [each for other in element.branches if other is not branch for each in other.steps]
            yield from _places(branch.steps, earlier, (*beside, *others))


def undone_keys(elements: Sequence[Element], reached: Reached) -> frozenset[str]:
    """Keys of the steps among these that have to be undone once they are done."""
    return frozenset(
        key
        for element in leaves(elements)
        if isinstance(element, Step) and is_undone(element)
        for key in reached.get(element.name, ())
    )


def is_undone(step: Step) -> bool:
    """Whether something is sent for it on the way back."""
    return step.compensation is not None and step.kind is StepKind.COMPENSATABLE


def turning_place(saga: Saga, reached: Reached) -> Place | None:
    """The last element that may turn the saga back, once all that is before it has happened; None if none may."""
    found = [place for place in places(saga) if _may_turn(place, reached)]
    return max(found, key=lambda place: len(undone_keys(place.before, reached)), default=None)


def _may_turn(place: Place, reached: Reached) -> bool:
    element = place.element
    if element.kind is StepKind.RETRIABLE or element.name not in reached:
        return False
    return isinstance(element, Step) or (isinstance(element, Wait) and element.on_timeout is not None)


def wrong_orders(elements: Sequence[Element], undone_at: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Pairs of step keys of which the first was undone before the second, and should have been undone after it.

    `undone_at` has the moment for each step key. What stands later in a list is undone first; branches of a block and
    items of a loop are undone in any order.
    """
    of_element: list[Mapping[str, int]] = []
    for element in elements:
        names = {leaf.name for leaf in leaves([element])}
        of_element.append({key: at for key, at in undone_at.items() if key.partition("[")[0] in names})
        if isinstance(element, Parallel):
            for branch in element.branches:
                yield from wrong_orders(branch.steps, undone_at)
    for number, earlier in enumerate(of_element):
        for later in of_element[number + 1 :]:
            yield from (
                (first, second)
                for first, first_at in earlier.items()
                for second, second_at in later.items()
                if first_at < second_at
            )
