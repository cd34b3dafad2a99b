"""What changed about what reaches a saga from outside: its events, its cancel, its start; and how it is found."""

from collections.abc import Iterator, Mapping

from google.protobuf.descriptor import MethodDescriptor

from sagagen.compatibility.change import Change, Reach, Rule, Target
from sagagen.compatibility.pair import difference, is_same
from sagagen.compatibility.rules import edge as edge_rules
from sagagen.compatibility.rules import outside as outside_rules
from sagagen.compatibility.rules import timing as timing_rules
from sagagen.contract.model import Cancel, Event, IndexValue, Mesh, Saga, Start, Wait, leaves
from sagagen.emit.docs_text import in_words


def compare_outside(old: Saga, new: Saga) -> Iterator[Change]:
    """Of one version, what its open sagas are told; of two, what clients find after the newer has been deployed."""
    yield from _events(old, new)
    yield from _cancel(old, new)
    yield from _start(old, new)
    yield from _index(old, new)


def renamed_events(old: Saga, new: Saga) -> Mapping[str, str]:
    """Events that come by the same rpc under a new name."""
    before, after = _by_name(old), _by_name(new)
    gone = {event.rpc.full_name: name for name, event in before.items() if name not in after}
    return {
        gone[event.rpc.full_name]: name
        for name, event in after.items()
        if name not in before and event.rpc.full_name in gone
    }


def unreachable(old: Mesh, new: Mesh) -> Iterator[Change]:
    """Events and cancels that had a route, of sagas that the new contract still has."""
    routed, still = ({rpc.full_name for rpc in mesh.routes_to} for mesh in (old, new))
    lost = routed - still
    still_there = {(saga.name, saga.version): saga for saga in (*new.sagas, *new.kept)}
    for saga in (*old.sagas, *old.kept):
        now = still_there.get((saga.name, saga.version))
        if now:
            yield from _lost(saga, now, lost)


def _lost(old: Saga, new: Saga, lost: set[str]) -> Iterator[Change]:
    """What the contract has no more is told as that."""
    pairs: list[tuple[str, Event | Cancel]] = [
        (event.name, event) for event in new.events if event.name in _by_name(old)
    ]
    if old.cancel and new.cancel:
        pairs.append(("cancel", new.cancel))
    for name, received in pairs:
        if received.rpc.full_name in lost:
            message = f"{received.rpc.full_name} has no route"
            target = Target(old.name, old.version)
            yield Change.of(
                outside_rules.EVENT_UNREACHABLE, received.span, f"{new.name}/{name}", message, target
            )


def _by_name(saga: Saga) -> dict[str, Event]:
    return {event.name: event for event in saga.events}


def _events(old: Saga, new: Saga) -> Iterator[Change]:
    before, after, renamed = _by_name(old), _by_name(new), renamed_events(old, new)
    for name, event in before.items():
        subject = f"{new.name}/{name}"
        if name in after:
            yield from _event(old, new, event, after[name])
        elif name in renamed:
            if old.version == new.version:
                message = f"event {name} is now called {renamed[name]}"
                at = after[renamed[name]].span
                yield Change.of(outside_rules.EVENT_RENAMED, at, subject, message, _open(old, new))
            yield from _event(old, new, event, after[renamed[name]])
        else:
            message = f"event {name} is gone"
            yield Change.of(outside_rules.EVENT_REMOVED, new.span, subject, message, _waiting(old, new, name))
    for name, event in after.items():
        if name not in before and name not in renamed.values():
            subject = f"{new.name}/{name}"
            yield Change.of(outside_rules.EVENT_ADDED, event.span, subject, f"event {name} is new")


def _open(old: Saga, new: Saga) -> Target | None:
    """The sagas under way that the new definition is for: none, where it is another version."""
    return Target(old.name, old.version) if old.version == new.version else None


def _waiting(old: Saga, new: Saga, event: str) -> Target | None:
    """Those of them whose wait for it can still come."""
    waits = [leaf for leaf in leaves(old.steps) if isinstance(leaf, Wait) and leaf.event == event]
    if old.version != new.version or len(waits) != 1:
        return _open(old, new)
    return Target(old.name, old.version, Reach.BEFORE_END_OF_STEP, waits[0].name)


def _event(old: Saga, new: Saga, was: Event, now: Event) -> Iterator[Change]:
    yield from _address(old, new, now.name, was, now)
    if not is_same(was.body, now.body):
        message = f"answer to event {now.name} is a different message"
        yield Change.of(edge_rules.ANSWER_BODY, now.span, f"{new.name}/{now.name}", message)


def _cancel(old: Saga, new: Saga) -> Iterator[Change]:
    was, now, subject = old.cancel, new.cancel, f"{new.name}/cancel"
    if was and now:
        yield from _address(old, new, "cancel", was, now)
        if was.reason != now.reason:
            message = f"reason {was.reason} -> {now.reason}"
            yield Change.of(outside_rules.REASON_CHANGED, now.span, subject, message)
    elif was:
        message = "sagas can't be cancelled any more"
        yield Change.of(outside_rules.CANCEL_REMOVED, new.span, subject, message)
    elif now:
        yield Change.of(outside_rules.CANCEL_ADDED, now.span, subject, "sagas can be cancelled")


def _address(old: Saga, new: Saga, name: str, was: Event | Cancel, now: Event | Cancel) -> Iterator[Change]:
    """By which rpc it comes, for which saga, and from whom."""

    def change(rule: Rule, message: str) -> Change:
        return Change.of(rule, now.span, f"{new.name}/{name}", message, _open(old, new))

    if was.rpc.full_name != now.rpc.full_name:
        yield change(outside_rules.EVENT_RPC_CHANGED, f"{was.rpc.full_name} -> {now.rpc.full_name}")
    if _type(was.rpc) != _type(now.rpc):
        yield change(outside_rules.EVENT_TYPE_CHANGED, f"{_type(was.rpc)} -> {_type(now.rpc)}")
    if not is_same(was.saga_id, now.saga_id):
        yield change(outside_rules.SAGA_ID_CHANGED, difference("saga_id", was.saga_id, now.saga_id))
    if not is_same(was.allow, now.allow):
        yield change(outside_rules.ALLOW_CHANGED, difference("allow", was.allow, now.allow))


def _type(rpc: MethodDescriptor) -> str:
    return rpc.input_type.full_name


def _start(old: Saga, new: Saga) -> Iterator[Change]:
    was, now = old.start, new.start
    if was and now:
        yield from _start_changed(new, was, now)
    elif now:
        yield Change.of(outside_rules.START_ADDED, now.span, new.name, "`start` is new")
    elif was:
        yield Change.of(outside_rules.START_REMOVED, new.span, new.name, "`start` is gone")


def _start_changed(new: Saga, was: Start, now: Start) -> Iterator[Change]:
    if was.after_s is not None and now.after_s is not None:
        if was.after_s != now.after_s:
            message = f"starts after {in_words(was.after_s)} -> after {in_words(now.after_s)}"
            yield Change.of(outside_rules.START_MOVED, now.span, new.name, message)
    elif was.after_s != now.after_s or not (is_same(was.after, now.after) and is_same(was.at, now.at)):
        message = "`start` says something else"
        yield Change.of(outside_rules.START_CHANGED, now.span, new.name, message)
    if was.at_most_s != now.at_most_s:
        is_lower = now.at_most_s < was.at_most_s
        rule = outside_rules.START_BOUND_LOWERED if is_lower else timing_rules.BOUND_RAISED
        message = f"start.at_most {in_words(was.at_most_s)} -> {in_words(now.at_most_s)}"
        yield Change.of(rule, now.span, new.name, message)


def _index(old: Saga, new: Saga) -> Iterator[Change]:
    before, after = _values(old), _values(new)
    for name, value in before.items():
        subject = f"{new.name}/index.{name}"
        if name not in after:
            message = f"index {name} is gone"
            yield Change.of(outside_rules.INDEX_REMOVED, new.span, subject, message)
        elif not is_same(value.value, after[name].value):
            message = difference(f"index.{name}", value.value, after[name].value)
            yield Change.of(outside_rules.INDEX_CHANGED, after[name].span, subject, message)
    for name, value in after.items():
        if name not in before:
            subject, message = f"{new.name}/index.{name}", f"index {name} is new"
            yield Change.of(outside_rules.INDEX_ADDED, value.span, subject, message)


def _values(saga: Saga) -> dict[str, IndexValue]:
    return {value.name: value for value in saga.index}
