"""What stands at another place than before: in another branch, in another order, on the other side of the pivot."""

from collections.abc import Iterator, Mapping, Sequence

from sagagen.compatibility.change import Change, Target
from sagagen.compatibility.matching import Matching
from sagagen.compatibility.rules import outside as outside_rules
from sagagen.compatibility.rules import steps as step_rules
from sagagen.compatibility.tree import noun, where
from sagagen.contract.model import Element, Saga, Wait, leaves
from sagagen.runtime.model.definition import StepKind


def moved(old: Saga, new: Saga, matching: Matching) -> Iterator[Change]:
    """Into a branch, out of it, or to another: its list does not continue the one that it was in."""
    for was, now in matching.now.items():
        before, after = matching.old.places[was], matching.new.places[now]
        if matching.lists.get(after.list) != before.list:
            message = f"{noun(after.element)} {now}: {where(before.list)} -> {where(after.list)}"
            subject, target = f"{new.name}/{now}", Target(old.name, old.version)
            yield Change.of(step_rules.ELEMENT_MOVED, after.element.span, subject, message, target)


def reordered(old: Saga, new: Saga, matching: Matching) -> Iterator[Change]:
    """Within one list."""
    for key, old_key in matching.lists.items():
        was, now = _in_both(matching.old.lists[old_key], matching.new.lists[key])
        if was != now:
            message = f"{', '.join(was)} -> {', '.join(now)}"
            target = Target(old.name, old.version)
            at, subject = new.span, new.name
            if key:
                block = matching.new.places[key[-1][0]].element
                at, subject = block.span, f"{new.name}/{block.name}"
            yield Change.of(step_rules.STEPS_REORDERED, at, subject, message, target)


def _in_both(was: Sequence[Element], now: Sequence[Element]) -> tuple[list[str], list[str]]:
    before, after = [element.name for element in was], [element.name for element in now]
    both = set(before) & set(after)
    return [name for name in before if name in both], [name for name in after if name in both]


def rearranged(new: Saga, matching: Matching) -> Iterator[Change]:
    """Branches of one block, by name or order."""
    for name in matching.was:
        block = matching.new.block(name)
        before = matching.old.block(matching.was[name])
        if block is None or before is None:
            continue
        key = matching.new.places[name].list
        old_names = {
            branch.name: matching.lists[inner][-1][1]
            for branch in block.branches
            if (inner := (*key, (name, branch.name))) in matching.lists
        }
        paired = set(old_names.values())
        was = [branch.name for branch in before.branches if branch.name in paired]
        if was != list(old_names.values()) or was != list(old_names):
            message = f"branches {', '.join(was)} -> {', '.join(_with_old(old_names))}"
            yield Change.of(step_rules.BRANCHES_REARRANGED, block.span, f"{new.name}/{name}", message)


def _with_old(old_names: Mapping[str, str]) -> Iterator[str]:
    for now, was in old_names.items():
        yield now if now == was else f"{now} (was {was})"


def waits_swapped(old: Saga, new: Saga) -> Iterator[Change]:
    """An event is for the first wait in the file that is ready."""
    for event in dict.fromkeys(wait.event for wait in _waits(new)):
        was, now = _in_both(_waits(old, event), _waits(new, event))
        if was != now:
            message = f"waits for {event}: {', '.join(was)} -> {', '.join(now)}"
            target = Target(old.name, old.version)
            yield Change.of(outside_rules.WAITS_SWAPPED, new.span, new.name, message, target)


def _waits(saga: Saga, event: str = "") -> list[Wait]:
    waits = [leaf for leaf in leaves(saga.steps) if isinstance(leaf, Wait)]
    return [wait for wait in waits if not event or wait.event == event]


def pivot_moved(old: Saga, new: Saga) -> Iterator[Change]:
    was, now = pivot_of(old), pivot_of(new)
    order = [element.name for element in new.steps]
    if was is None or now is None or was.name == now.name or was.name not in order:
        return
    rule = (
        step_rules.PIVOT_LATER if order.index(now.name) > order.index(was.name) else step_rules.PIVOT_EARLIER
    )
    message = f"pivot {was.name} -> {now.name}"
    yield Change.of(rule, now.span, new.name, message, Target(old.name, old.version))


def pivot_of(saga: Saga) -> Element | None:
    """It stands at top level."""
    return next((element for element in saga.steps if element.kind is StepKind.PIVOT), None)
