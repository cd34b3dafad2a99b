"""Elements of a saga that are gone or new. A block or branch that is gone or new as a whole is one finding."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from sagagen.compatibility.change import Change, Reach, Target
from sagagen.compatibility.matching import Matching
from sagagen.compatibility.rules import steps as step_rules
from sagagen.compatibility.tree import ListKey, Tree, noun, owing, where
from sagagen.contract.model import Branch, Element, Parallel, Saga, Step


def gone(old: Saga, new: Saga, matching: Matching) -> Iterator[Change]:
    known = _Known(matching.old, matching.new, matching.now, matching.lists.values())
    return _Gone(old, new, known).of(old.steps, ())


def added(old: Saga, new: Saga, matching: Matching) -> Iterator[Change]:
    known = _Known(matching.new, matching.old, matching.was, matching.lists)
    return _Added(old, new, known).of(new.steps, (), is_followed=False)


class _Known:
    """What has a counterpart in the other definition, or something in it that has."""

    def __init__(
        self, tree: Tree, other: Tree, counterparts: Mapping[str, str], continued: Iterable[ListKey]
    ) -> None:
        """`continued`: lists that continue one of the other definition, or are continued by one."""
        self._other = other
        self._counterparts = counterparts
        lists = {tree.places[name].list for name in counterparts}
        alive = {key[:depth] for key in lists for depth in range(1, len(key) + 1)}
        self._blocks = {key[-1][0] for key in alive}
        self._lists = alive | set(continued)

    def element(self, element: Element) -> bool:
        return element.name in self._counterparts or element.name in self._blocks

    def branch(self, key: ListKey) -> bool:
        """Each element of a block that has no counterpart is a finding of its own."""
        return key in self._lists or key[-1][0] not in self._counterparts

    def is_block(self, block: Parallel) -> bool:
        """In the other definition too: what has become something else is told as that."""
        return self._other.block(self._counterparts[block.name]) is not None


class _Gone:
    def __init__(self, old: Saga, new: Saga, known: _Known) -> None:
        self._old = old
        self._new = new
        self._known = known

    def of(self, elements: Sequence[Element], key: ListKey) -> Iterator[Change]:
        for element in elements:
            if not self._known.element(element):
                yield from self._whole(element)
            elif isinstance(element, Parallel):
                yield from self._branches(element, key)

    def _branches(self, block: Parallel, key: ListKey) -> Iterator[Change]:
        for branch in block.branches:
            inner = (*key, (block.name, branch.name))
            if self._known.branch(inner):
                yield from self.of(branch.steps, inner)
                continue
            if self._known.is_block(block):
                subject, target = f"{self._new.name}/{block.name}", Target(self._old.name, self._old.version)
                message = f"{where(inner)} is gone"
                yield Change.of(step_rules.BRANCH_REMOVED, self._new.span, subject, message, target)
            yield from self._owing(branch.steps)

    def _whole(self, element: Element) -> Iterator[Change]:
        """A step that is undone has a rule of its own."""
        if not (isinstance(element, Step) and element.compensation):
            subject, target = f"{self._new.name}/{element.name}", Target(self._old.name, self._old.version)
            message = f"{noun(element)} {element.name} is gone"
            yield Change.of(step_rules.STEP_REMOVED, self._new.span, subject, message, target)
        yield from self._owing([element])

    def _owing(self, elements: Sequence[Element]) -> Iterator[Change]:
        for step in owing(elements):
            target = Target(self._old.name, self._old.version, Reach.OWES_STEP, step.name)
            subject, message = f"{self._new.name}/{step.name}", f"step {step.name} is gone"
            yield Change.of(step_rules.STEP_REMOVED_OWING, self._new.span, subject, message, target)


class _Added:
    def __init__(self, old: Saga, new: Saga, known: _Known) -> None:
        self._old = old
        self._new = new
        self._known = known

    def of(self, elements: Sequence[Element], key: ListKey, *, is_followed: bool) -> Iterator[Change]:
        """`is_followed`: something known comes after the block that they are in."""
        known = [self._known.element(element) for element in elements]
        last = max((number for number, is_known in enumerate(known) if is_known), default=-1)
        for number, element in enumerate(elements):
            is_before_known = is_followed or number < last
            if not known[number]:
                place = f"before {elements[number + 1].name}" if elements[number + 1 :] else _end(key)
                yield self._new_one(element, place, is_followed=is_before_known)
            elif isinstance(element, Parallel):
                yield from self._branches(element, key, is_followed=is_before_known)

    def _branches(self, block: Parallel, key: ListKey, *, is_followed: bool) -> Iterator[Change]:
        for branch in block.branches:
            inner = (*key, (block.name, branch.name))
            if self._known.branch(inner):
                yield from self.of(branch.steps, inner, is_followed=is_followed)
            elif self._known.is_block(block):
                yield self._new_branch(branch, block, inner, is_followed=is_followed)

    def _new_branch(self, branch: Branch, block: Parallel, key: ListKey, *, is_followed: bool) -> Change:
        subject, message = f"{self._new.name}/{block.name}", f"{where(key)} is new"
        if not is_followed:
            return Change.of(step_rules.STEP_APPENDED, branch.span, subject, f"{message}, at the end")
        target = Target(self._old.name, self._old.version)
        return Change.of(step_rules.BRANCH_ADDED, branch.span, subject, message, target)

    def _new_one(self, element: Element, place: str, *, is_followed: bool) -> Change:
        subject, what = f"{self._new.name}/{element.name}", f"{noun(element)} {element.name}"
        if not is_followed:
            return Change.of(step_rules.STEP_APPENDED, element.span, subject, f"{what} is new, at the end")
        target = Target(self._old.name, self._old.version)
        return Change.of(step_rules.STEP_INSERTED, element.span, subject, f"{what} is new, {place}", target)


def _end(key: ListKey) -> str:
    return f"at the end of {where(key)}"
