"""Which element of a saga is which after a change, and which list of elements continues which.

Elements are found by name, wherever they stand. Nothing reads the names of branches, so a branch is the one that has
its elements, whatever it is called. A list continues another if its block and branch do: where an element's new list
does not continue its old one, the element has moved.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sagagen.compatibility.tree import ListKey, Tree
from sagagen.contract.model import Branch, Call, Delay, Element, Parallel, Step, Wait


@dataclass(frozen=True, slots=True)
class Matching:
    old: Tree
    new: Tree
    now: Mapping[str, str]
    """Old name -> new name, of elements that there still are."""
    was: Mapping[str, str]
    """New name -> old name."""
    lists: Mapping[ListKey, ListKey]
    """New list -> the old list that it continues."""


def matched(old: Tree, new: Tree) -> Matching:
    return _Matcher(old, new).matching()


class _Matcher:
    def __init__(self, old: Tree, new: Tree) -> None:
        self._old = old
        self._new = new
        self._now = {name: name for name in old.places if name in new.places}
        self._lists: dict[ListKey, ListKey] = {}

    def matching(self) -> Matching:
        self._pair((), ())
        for name in list(self._now):
            self._pair_branches(name, name)
        return Matching(
            self._old, self._new, self._now, {now: was for was, now in self._now.items()}, self._lists
        )

    def _pair(self, was: ListKey, now: ListKey) -> None:
        self._lists[now] = was
        for one, other in zip(self._old.lists[was], self._new.lists[now], strict=False):
            if self._is_renamed(one, other):
                self._now[one.name] = other.name
                self._pair_branches(one.name, other.name)

    def _is_renamed(self, one: Element, other: Element) -> bool:
        """It does the same at the same place, its old name is gone and its new one is new."""
        is_new = other.name not in self._old.places
        return one.name not in self._new.places and is_new and self._do_the_same(one, other)

    def _do_the_same(self, one: Element, other: Element) -> bool:
        match one, other:
            case Step(), Step():
                return rpc(one.action) == rpc(other.action)
            case Wait(), Wait():
                return one.event == other.event
            case Delay(), Delay():
                return time_of(one) == time_of(other)
            case Parallel(), Parallel():
                return any(self._shared(one, other).values())
            case _:
                return False

    def _pair_branches(self, was: str, now: str) -> None:
        """Those that share most elements first; what is left, by name."""
        one, other = self._old.block(was), self._new.block(now)
        if one is None or other is None:
            return
        shared = self._shared(one, other)
        named = {(branch.name, branch.name): 0 for branch in other.branches}
        left_old, left_new = {b.name for b in one.branches}, {b.name for b in other.branches}
        for of_old, of_new in [*_most_first(shared), *named]:
            if of_old in left_old and of_new in left_new:
                left_old.remove(of_old)
                left_new.remove(of_new)
                self._pair(
                    (*self._old.places[was].list, (was, of_old)),
                    (*self._new.places[now].list, (now, of_new)),
                )

    def _shared(self, one: Parallel, other: Parallel) -> Counter[tuple[str, str]]:
        """Old and new branch -> how many elements are in both, at any depth."""
        of_old, of_new = dict(_branches(one)), dict(_branches(other))
        return Counter((of_old[name], of_new[name]) for name in of_old if name in of_new)


def _most_first(shared: Counter[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Of as many, those of one name."""
    return sorted(shared, key=lambda pair: (-shared[pair], pair[0] != pair[1]))


def _branches(block: Parallel) -> Iterator[tuple[str, str]]:
    """Each element in it, and the branch."""
    for branch in block.branches:
        yield from ((name, branch.name) for name in _names(branch))


def _names(branch: Branch) -> Iterator[str]:
    return iter(Tree(branch.steps).places)


def rpc(call: Call) -> tuple[str, str]:
    return call.service.name, call.method.descriptor.full_name


def time_of(delay: Delay) -> tuple[float | None, str | None, str | None]:
    """How long a delay takes: seconds, or the meaning of the expression that says it."""
    return (
        delay.after_s,
        delay.after.canonical() if delay.after else None,
        delay.at.canonical() if delay.at else None,
    )
