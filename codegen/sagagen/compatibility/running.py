"""The open sagas, and which of them a change hits."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sagagen.compatibility.change import Hit, Reach, Spot, Target, count_open
from sagagen.compatibility.tree import Tree
from sagagen.contract.model import Delay, Element, Mesh, Step, Wait

_NO_TREE = Tree(())


@dataclass(frozen=True, slots=True)
class OpenSaga:
    """A saga that is active (RUNNING, COMPENSATING) or STUCK."""

    saga: str
    version: int
    goes_back: bool | None
    """It is being undone; None if that is not known."""
    at: tuple[str, ...]
    """The elements that are under way, or being undone; empty if none is known."""
    age_s: float
    is_whole: bool = True
    """`at` names all of them, and not only the one that a list of sagas shows."""
    has_begun: bool = True
    """False where it starts later; then it is at no element yet."""


class OpenSagas:
    """Where the open sagas are, by the old contract's elements."""

    def __init__(self, open_sagas: Iterable[OpenSaga], old: Mesh) -> None:
        self._sagas = tuple(open_sagas)
        self._trees: Mapping[tuple[str, int], Tree] = {
            (saga.name, saga.version): Tree.of(saga) for saga in (*old.sagas, *old.kept)
        }

    def __str__(self) -> str:
        return count_open(len(self._sagas))

    def hit(self, target: Target) -> Hit:
        tree = self._trees.get((target.saga, target.version), _NO_TREE)
        own = [
            each
            for each in self._sagas
            if (each.saga, each.version) == (target.saga, target.version) and _is_hit(each, target, tree)
        ]
        places = Counter(name for each in own for name in each.at or (_NOWHERE[each.has_begun],))
        where = sorted(places, key=lambda name: tree.order.get(name, len(tree.order)))
        spots = tuple(_spot(name, places[name], tree) for name in where)
        return Hit(len(own), spots, max((each.age_s for each in own), default=0.0))


_NOWHERE = {True: "an unknown step", False: "its start"}


def _spot(name: str, count: int, tree: Tree) -> Spot:
    place = tree.places.get(name)
    return Spot(name, count, _how(place.element) if place else "at")


def _how(element: Element) -> str:
    """What a saga does there."""
    match element:
        case Wait():
            return "waiting at"
        case Delay():
            return "in delay"
        case Step() if element.for_each:
            return "in loop"
        case _:
            return "at"


def _is_hit(saga: OpenSaga, target: Target, tree: Tree) -> bool:
    """Whether it is, or may be."""
    if not saga.has_begun:
        return target.reach is not Reach.OWES_STEP
    at = [name for name in saga.at if name in tree.places]
    if target.reach is Reach.ALL or not at or target.step not in tree.places:
        return True
    is_at = any(tree.holds(target.step, name) for name in at)
    is_ahead = any(tree.comes_before(name, target.step) for name in at)
    is_past = any(tree.comes_before(target.step, name) for name in at)
    if not (is_at or is_ahead or is_past) and not saga.is_whole:
        return True  # it is in another branch
    forward = _is_hit_forward(target.reach, is_at=is_at, is_ahead=is_ahead)
    backward = target.reach is Reach.OWES_STEP and (is_at or is_past)
    return forward or backward if saga.goes_back is None else backward if saga.goes_back else forward


def _is_hit_forward(reach: Reach, *, is_at: bool, is_ahead: bool) -> bool:
    match reach:
        case Reach.BEFORE_STEP:
            return is_ahead
        case Reach.BEFORE_END_OF_STEP:
            return is_at or is_ahead
        case _:
            return not is_ahead
