"""The states that a saga may be in, as Mermaid draws them: blocks are states with branches side by side."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from sagagen.contract.model import Element, Parallel, Saga, Step
from sagagen.emit.docs_text import label
from sagagen.emit.failure_paths import FailurePath, FailurePaths
from sagagen.emit.saga_tree import every
from sagagen.runtime.saga.events import SagaStatus

Branches = Callable[[Sequence[Element]], Iterator[str]]
"""What is drawn of the elements of a branch."""


def states(saga: Saga, paths: FailurePaths) -> tuple[str, ...]:
    """Every way through the saga, as the engine decides it."""
    return tuple(_States(saga, paths).lines())


class _States:
    """Mermaid draws no arrow out of a block: what goes on within one is the block's own, and it fails as a whole."""

    def __init__(self, saga: Saga, paths: FailurePaths) -> None:
        self._saga = saga
        self._paths = paths
        self._numbers = {element.name: number for number, element in enumerate(every(saga.steps), 1)}
        self._at_top = {inner.name: element.name for element in saga.steps for inner in every([element])}
        self._undone = [element for element in saga.steps if _is_undone(element)]

    def lines(self) -> Iterator[str]:
        yield "stateDiagram-v2"
        yield from self._states(self._saga.steps)
        yield from self._undo_states(self._undone)
        transitions = dict.fromkeys([*self._forward(), *self._turning(), *self._backward()])
        yield from transitions
        for end in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED):
            if any(f"--> {end}" in line for line in transitions):
                yield f"    {end} --> [*]"

    def _states(self, elements: Sequence[Element]) -> Iterator[str]:
        for element in elements:
            yield from self._state(element, self._step(element), element.name, self._inner)

    def _undo_states(self, elements: Sequence[Element]) -> Iterator[str]:
        for element in elements:
            yield from self._state(element, self._undo(element), f"undo {element.name}", self._inner_undo)

    def _state(self, element: Element, own: str, name: str, inner: Branches) -> Iterator[str]:
        if not isinstance(element, Parallel):
            yield f'    state "{label(name)}" as {own}'
            return
        yield f'    state "{label(name)}" as {own} {{'
        drawn = [lines for branch in element.branches if (lines := [*inner(branch.steps)])]
        for number, lines in enumerate(drawn):
            yield from ["        --"] if number else []
            yield from (f"    {line}" for line in lines)
        yield "    }"

    def _inner(self, elements: Sequence[Element]) -> Iterator[str]:
        yield from self._states(elements)
        yield from _chain([self._step(element) for element in elements], "done")

    def _inner_undo(self, elements: Sequence[Element]) -> Iterator[str]:
        undone = [element for element in reversed(elements) if _is_undone(element)]
        if undone:
            yield from self._undo_states(undone)
            yield from _chain([self._undo(element) for element in undone], "undone")

    def _forward(self) -> Iterator[str]:
        steps = self._saga.steps
        yield f"    [*] --> {self._step(steps[0])}"
        for element in steps:
            yield f"    {self._step(element)} --> {self._after(element)} : {_done(element)}"

    def _after(self, element: Element) -> str:
        at = self._saga.steps.index(element) + 1
        return self._step(self._saga.steps[at]) if at < len(self._saga.steps) else str(SagaStatus.COMPLETED)

    def _turning(self) -> Iterator[str]:
        for element in self._saga.steps:
            ways: dict[tuple[str, str], list[str]] = {}
            inner = {each.name for each in every([element])}
            for path in self._paths.values():
                if path.step in inner and not _is_done(element, path):
                    how = _how(element, path)
                    key = (self._goes_to(element, path), how)
                    ways.setdefault(key, []).append(how or path.fault.value)
            for (end, how), faults in ways.items():
                is_only_one = len(ways) == 1 and end != self._after(element)
                said = how or ("fails" if is_only_one else ", ".join(faults))
                yield f"    {self._step(element)} --> {end} : {said}"

    def _goes_to(self, element: Element, path: FailurePath) -> str:
        if path.status is SagaStatus.COMPLETED:
            return self._after(element)
        undone = (each.step for each in path.undone if not each.is_left)
        first = next((self._at_top[name] for name in undone), None)
        return str(path.status) if first is None else f"undo{self._numbers[first]}"

    def _backward(self) -> Iterator[str]:
        """From each compensation to the one before it."""
        names = [self._undo(element) for element in self._undone]
        for name, before in zip(names, [str(SagaStatus.COMPENSATED), *names], strict=False):
            yield f"    {name} --> {before} : undone"
            yield f"    {name} --> {SagaStatus.STUCK} : gives up"

    def _step(self, element: Element) -> str:
        return f"step{self._numbers[element.name]}"

    def _undo(self, element: Element) -> str:
        return f"undo{self._numbers[element.name]}"


def _is_done(element: Element, path: FailurePath) -> bool:
    """The block goes on all the same."""
    return isinstance(element, Parallel) and path.status is SagaStatus.COMPLETED


def _how(element: Element, path: FailurePath) -> str:
    """What is said of it, whatever its fault; empty if the fault is."""
    if isinstance(element, Step | Parallel) and path.status in (SagaStatus.STUCK, SagaStatus.COMPLETED):
        return "gives up"
    return "fails" if isinstance(element, Parallel) else ""


def _is_undone(element: Element) -> bool:
    return any(isinstance(each, Step) and each.compensation for each in every([element]))


def _done(element: Element) -> str:
    is_loop = isinstance(element, Step) and element.for_each
    return "done, or skipped" if element.when and not is_loop else "done"


def _chain(names: Sequence[str], what: str) -> Iterator[str]:
    """From the beginning of a branch to its end."""
    yield f"    [*] --> {names[0]}"
    for name, following in pairwise(names):
        yield f"    {name} --> {following} : {what}"
    yield f"    {names[-1]} --> [*] : {what}"
