"""Where an open saga is in its tree, by its log."""

from collections.abc import Iterable, Iterator
from itertools import islice

from sagagen.compatibility.tree import Tree
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.saga.history import NOBODY_KNOWS, History
from sagagen.runtime.scope import step_name


def places(history: History, tree: Tree) -> tuple[str, ...]:
    """Names of the elements that are under way, are being undone next, or are stuck; in the order of the file."""
    found = set(_going_back(history, tree) if history.turned_back else _going_forward(history, tree))
    return tuple(name for name in tree.order if name in found)


def has_begun(history: History, tree: Tree) -> bool:
    """Whether any of its elements has: one that starts later, or is only claimed, has not."""
    return any(step_name(key) in tree.places for key in _known(history)) or not _waits_to_begin(history)


def _waits_to_begin(history: History) -> bool:
    return any(key.startswith("~") for key in history.planned)


def _known(history: History) -> Iterator[str]:
    """Keys of the steps that its rows name."""
    yield from history.planned
    yield from history.responses
    yield from history.settled
    yield from history.stuck
    yield from history.loops


def _going_forward(history: History, tree: Tree) -> Iterator[str]:
    keys = (key for key in (*history.stuck, *history.planned) if not history.is_over(key))
    names = [name for name in map(step_name, keys) if name in tree.places]
    yield from names
    if not names and NOBODY_KNOWS in history.planned:
        # A straight line's log does not name the step that is planned: it is the one after those that are over.
        ahead = (name for name in tree.order if not tree.block(name) and not history.is_over(name))
        yield from islice(ahead, 1)


def _going_back(history: History, tree: Tree) -> Iterable[str]:
    stuck = [name for name in map(step_name, history.stuck) if name in tree.places]
    owing = {step_name(key) for key in _undone(history)} & tree.places.keys()
    return (*stuck, *tree.last_of(owing))


def _undone(history: History) -> Iterator[str]:
    """Keys of what took effect, or may have, and is not undone yet."""
    assert history.turned_back
    doubt = history.turned_back.doubt
    in_doubt = (
        step for (step, way), of in history.progress.items() if way is Direction.ACTION and of.is_in_doubt
    )
    yield from (key for key in (*history.responses, *doubt, *in_doubt) if key not in history.settled)
