"""A saga's elements by name, and where each stands in the tree of lists, blocks and branches."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sagagen.contract.model import Element, Parallel, Saga, Step, leaves

ListKey: TypeAlias = tuple[tuple[str, str], ...]
"""Which list of elements: the blocks that it is in and their branches, from the outside in; () is the saga's own."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element stands."""

    element: Element
    list: ListKey
    number: int
    """In its list, from 0."""


class Tree:
    """The elements of a saga. Names are unique in it, so that a name is enough to find one."""

    def __init__(self, elements: Sequence[Element]) -> None:
        self.lists: Mapping[ListKey, Sequence[Element]] = dict(_lists(elements, ()))
        self.places: Mapping[str, Place] = {
            element.name: Place(element, key, number)
            for key, listed in self.lists.items()
            for number, element in enumerate(listed)
        }
        self.order: Mapping[str, int] = {name: number for number, name in enumerate(_names(elements))}
        """Of the file."""

    @classmethod
    def of(cls, saga: Saga) -> "Tree":
        return cls(saga.steps)

    def block(self, name: str) -> Parallel | None:
        place = self.places.get(name)
        return place.element if place and isinstance(place.element, Parallel) else None

    def comes_before(self, earlier: str, later: str) -> bool:
        """Whether one must be settled before the other begins: those in branches of one block go on side by side."""
        one, other = self._line(earlier), self._line(later)
        for (key, number), (other_key, other_number) in zip(one, other, strict=False):
            if key != other_key:
                return False  # in two branches of one block
            if number != other_number:
                return number < other_number
        return False

    def holds(self, block: str, name: str) -> bool:
        """Whether it stands in the block, at any depth, or is the block."""
        return block == name or any(block == of for of, _ in self.places[name].list)

    def last_of(self, names: Iterable[str]) -> set[str]:
        """Those after which none of the others comes."""
        lines = {name: self._line(name) for name in names}
        last: dict[ListKey, int] = {}
        for key, number in (step for line in lines.values() for step in line):
            last[key] = max(number, last.get(key, number))
        return {name for name, line in lines.items() if all(number == last[key] for key, number in line)}

    def _line(self, name: str) -> list[tuple[ListKey, int]]:
        """From the saga's own list to the element: each list, and the number in it."""
        place = self.places[name]
        outside = [
            (key[:-1], self.places[key[-1][0]].number)
            for key in (place.list[:depth] for depth in range(1, len(place.list) + 1))
        ]
        return [*outside, (place.list, place.number)]


def _lists(elements: Sequence[Element], key: ListKey) -> Iterator[tuple[ListKey, Sequence[Element]]]:
    yield key, elements
    for element in elements:
        if isinstance(element, Parallel):
            for branch in element.branches:
                yield from _lists(branch.steps, (*key, (element.name, branch.name)))


def _names(elements: Sequence[Element]) -> Iterator[str]:
    for element in elements:
        yield element.name
        if isinstance(element, Parallel):
            for branch in element.branches:
                yield from _names(branch.steps)


def where(key: ListKey) -> str:
    """In the words of messages."""
    return f"branch {key[-1][1]} of {key[-1][0]}" if key else "top level"


def noun(element: Element) -> str:
    return "block" if isinstance(element, Parallel) else type(element).__name__.lower()


def owing(elements: Iterable[Element]) -> Iterator[Step]:
    """The steps among them, at any depth, that are undone when the saga turns back."""
    return (leaf for leaf in leaves(elements) if isinstance(leaf, Step) and leaf.compensation)
