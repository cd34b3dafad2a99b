"""Which responses an expression may read, decided by the structure of the saga.

`steps.x` can be read where x has come before for certain: it precedes what reads it in the same list, or precedes a
block that what reads it stands in; a block that has come before is settled with all that is in it. Steps of another
branch of the same block run at the same time, and can't be read. Where x may be passed by (`when`, `on_give_up`,
`on_timeout: continue`), what reads it needs `has(steps.x)`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from google.protobuf.descriptor import Descriptor

from sagagen.contract.outline import (
    DelayOutline,
    ElementOutline,
    ParallelOutline,
    SagaOutline,
    StepOutline,
    WaitOutline,
)
from sagagen.runtime.model.definition import StepKind

T = TypeVar("T")
Path = tuple[int, ...]
"""Where an element stands: its index in the list, then of each branch below a block its index and the index in it."""

RUNS_LATER = "it runs later"
OWN_REQUEST = "its request comes before its response"
OWN_COMPENSATION = "its response may be unknown"
OWN_CONDITION = "its condition comes before its response"
NOT_DONE = "it may not have run when this compensation is called"
ANSWERED_BEFORE = "it runs after the answer"
BESIDE = "it is in another branch, which runs at the same time"
IS_BLOCK = "it is a block, which has no response: read the steps in it"
IS_DELAY = "it is a delay, which has no response"
BROKEN = "it is broken, which was reported"
"""Findings with this reason only follow from an earlier one, and are dropped."""


class Order(Enum):
    """How an element stands to a place."""

    BEFORE = "before"
    BESIDE = "beside"
    OWN = "own"
    AFTER = "after"


def order(path: Path, place: Path) -> Order:
    """How the element at `path` stands to what reads it at `place`."""
    for depth, (at, here) in enumerate(zip(path, place, strict=False)):
        if at != here and depth % 2:
            return Order.BESIDE
        if at != here:
            return Order.BEFORE if at < here else Order.AFTER
    return Order.OWN if path == place else Order.AFTER


class Lookup(Mapping[str, T], Generic[T]):
    """Finds the value of a name when it is asked for: there may be many names, and few of them are read."""

    def __init__(self, names: Sequence[str], find: Callable[[str], T | None]) -> None:
        self._names = names
        self._find = find

    def __getitem__(self, name: str) -> T:
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if self._find(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, slots=True)
class Readable:
    """What may be read at one place, by the name of the step."""

    steps: Mapping[str, Descriptor]
    loops: Mapping[str, Descriptor]
    unreadable: Mapping[str, str]
    """Why not."""
    guarded: Mapping[str, str]
    """Why `has` is needed."""


class Structure:
    """The elements of a saga, and where each of them stands."""

    def __init__(self, saga: SagaOutline) -> None:
        self._places: dict[str, tuple[ElementOutline, Path]] = {}
        self._blocks: dict[Path, ParallelOutline] = {}
        self._events = {event.name: event for event in saga.events}
        for path, element in _placed(saga.steps, ()):
            self._places[element.name] = element, path
            if isinstance(element, ParallelOutline):
                self._blocks[path] = element
        names = Counter(element.name for element in saga.elements)
        self._broken = {name for name, count in names.items() if count > 1} | saga.broken.steps - {""}
        """Of a name that several steps have, nobody knows which is meant."""
        self._names = tuple(dict.fromkeys([*names, *sorted(self._broken)]))

    def path(self, name: str) -> Path | None:
        return self._places[name][1] if name in self._places else None

    def before(self, place: Path, *, own: str, later: str) -> Readable:
        """What has come before the element at `place`; `own` and `later`: why it and what follows can't be read."""
        reasons = {Order.OWN: own, Order.AFTER: later, Order.BESIDE: BESIDE}
        return self._readable(place, lambda path: reasons.get(order(path, place)))

    def settled(self, place: Path) -> Readable:
        """What is there once the element at `place` is settled, with all that is in it."""

        def why(path: Path) -> str | None:
            if path[: len(place)] == place or order(path, place) is Order.BEFORE:
                return None
            return BESIDE if order(path, place) is Order.BESIDE else ANSWERED_BEFORE

        return self._readable(place, why)

    def all(self) -> Readable:
        """What is there at the end."""
        return self._readable((), lambda _: None)

    def none(self, why: str) -> Readable:
        return self._readable((), lambda _: why)

    def _readable(self, place: Path, why: Callable[[Path], str | None]) -> Readable:
        def reason(name: str) -> str | None:
            if name in self._broken:
                return BROKEN
            if name not in self._places:
                return None
            element, path = self._places[name]
            return _always(element) or why(path) or self._unknown(element)

        def response(name: str, *, is_loop: bool) -> Descriptor | None:
            if name not in self._places or reason(name) is not None:
                return None
            element = self._places[name][0]
            return self._response(element) if _is_loop(element) is is_loop else None

        return Readable(
            steps=Lookup(self._names, lambda name: response(name, is_loop=False)),
            loops=Lookup(self._names, lambda name: response(name, is_loop=True)),
            unreadable=Lookup(self._names, reason),
            guarded=Lookup(self._names, lambda name: self._why_guarded(name, place)),
        )

    def _response(self, element: ElementOutline) -> Descriptor | None:
        match element:
            case StepOutline(action=action) if action is not None:
                return action.method.descriptor.output_type
            case WaitOutline(event=event) if event in self._events:
                rpc = self._events[event].rpc
                return rpc.input_type if rpc is not None else None
            case _:
                return None

    def _unknown(self, element: ElementOutline) -> str | None:
        return BROKEN if self._response(element) is None else None

    def _why_guarded(self, name: str, place: Path) -> str | None:
        if name not in self._places:
            return None
        element, path = self._places[name]
        return _passed_by(element) or self._skipped_with_block(path, place)

    def _skipped_with_block(self, path: Path, place: Path) -> str | None:
        """Whoever stands in the block as well is skipped with it, and so never reads what is not there."""
        for length in range(1, len(path), 2):
            block = self._blocks[path[:length]]
            if block.shape.when is not None and place[:length] != path[:length]:
                return f'the block "{block.name}" is skipped unless its `when` holds'
        return None


def _placed(elements: Sequence[ElementOutline], above: Path) -> Iterator[tuple[Path, ElementOutline]]:
    for index, element in enumerate(elements):
        path = (*above, index)
        yield path, element
        if isinstance(element, ParallelOutline):
            for number, branch in enumerate(element.branches):
                yield from _placed(branch.steps, (*path, number))


def _always(element: ElementOutline) -> str | None:
    """Why nothing can read it, wherever it stands."""
    match element:
        case ParallelOutline():
            return IS_BLOCK
        case DelayOutline():
            return IS_DELAY
        case StepOutline() if _is_loop(element) and element.shape.when is not None:
            return "items that its `when` skips have no response, so the list would have gaps"
        case StepOutline() if _is_loop(element) and element.shape.on_give_up is not None:
            return "items that are given up have no response, so the list would have gaps"
        case _:
            return None


def _is_loop(element: ElementOutline) -> bool:
    return isinstance(element, StepOutline) and element.shape.for_each is not None


def _passed_by(element: ElementOutline) -> str | None:
    """Why it may be settled without a response. What a kind does not allow is reported, and changes nothing."""
    if element.kind is StepKind.PIVOT:
        return None
    match element:
        case StepOutline() | WaitOutline() if element.shape.when is not None and not _is_loop(element):
            return "it is skipped unless its `when` holds"
        case StepOutline(shape=shape) if shape.on_give_up is not None and element.kind is StepKind.RETRIABLE:
            return "it may be given up (on_give_up: continue)"
        case WaitOutline() if element.goes_on:
            return "it may time out (on_timeout: continue)"
        case _:
            return None
