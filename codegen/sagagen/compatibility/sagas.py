"""What changed about whole sagas: identity, version, trigger, timing, idempotency and answers."""

from collections.abc import Iterator, Mapping

from sagagen.compatibility.change import Change, Target
from sagagen.compatibility.elements import compare_elements
from sagagen.compatibility.new_fields import names_of, new_fields_read
from sagagen.compatibility.outside import compare_outside
from sagagen.compatibility.rules import edge as edge_rules
from sagagen.compatibility.rules import keys as key_rules
from sagagen.compatibility.rules import sagas as saga_rules
from sagagen.compatibility.rules import steps as step_rules
from sagagen.compatibility.rules import timing as timing_rules
from sagagen.contract.model import Mesh, Saga
from sagagen.emit.docs_text import in_words


def compare_sagas(old: Mesh, new: Mesh) -> Iterator[Change]:
    before, after = _by_name(old), _by_name(new)
    renamed = dict(_renamed(before, after))
    known = names_of(old)
    for name, saga in before.items():
        if name in after:
            yield from _compare(saga, after[name], known, _kept(new, name, saga.version))
        elif name in renamed:
            yield Change.of(
                saga_rules.SAGA_RENAMED,
                renamed[name].span,
                name,
                f"saga {name} is now called {renamed[name].name}",
            )
        else:
            message = f"saga {name} is gone"
            yield Change.of(saga_rules.SAGA_REMOVED, saga.span, name, message, Target(name, saga.version))
    for name, saga in after.items():
        if name not in before and saga not in renamed.values():
            yield Change.of(saga_rules.SAGA_ADDED, saga.span, name, f"saga {name} is new")


def compare_kept(old: Mesh, new: Mesh) -> Iterator[Change]:
    """Older versions: they may be removed, but never change."""
    known = names_of(old)
    for saga in old.kept:
        kept = _kept(new, saga.name, saga.version)
        target = Target(saga.name, saga.version)
        if kept is None:
            message = f"version {saga.version} is no longer kept"
            yield Change.of(saga_rules.VERSION_GONE, saga.span, saga.name, message, target)
        else:
            yield from _same_version(saga, kept, known)
            yield from compare_outside(saga, kept)


def _kept(mesh: Mesh, name: str, version: int) -> Saga | None:
    return next((saga for saga in mesh.kept if (saga.name, saga.version) == (name, version)), None)


def _by_name(mesh: Mesh) -> Mapping[str, Saga]:
    return {saga.name: saga for saga in mesh.sagas}


def _renamed(before: Mapping[str, Saga], after: Mapping[str, Saga]) -> Iterator[tuple[str, Saga]]:
    """A saga that is gone, and a new one with the same trigger, since one rpc starts one saga."""
    for name, saga in before.items():
        for candidate in after.values():
            is_new = candidate.name not in before
            if name not in after and is_new and candidate.trigger.full_name == saga.trigger.full_name:
                yield name, candidate


def _compare(old: Saga, new: Saga, known: frozenset[str], kept: Saga | None) -> Iterator[Change]:
    """`kept`: the old version, if the new contract still has it."""
    yield from _compare_versions(old, new, kept)
    yield from _compare_trigger(old, new)
    yield from _compare_deadline(old, new)
    yield from _compare_idempotency(old, new)
    yield from _compare_answer(old, new)
    yield from _compare_first_write(old, new)
    yield from compare_outside(old, new)
    if kept:
        yield from compare_outside(old, kept)
    still = new if new.version == old.version else kept
    if still:
        yield from _same_version(old, still, known)


def _same_version(old: Saga, new: Saga, known: frozenset[str]) -> Iterator[Change]:
    if new.digest != old.digest:
        message = f"version {new.version} no longer means what it did"
        target = Target(old.name, old.version)
        yield Change.of(saga_rules.VERSION_NOT_RAISED, new.span, new.name, message, target)
    yield from compare_elements(old, new)
    yield from new_fields_read(old, new, known)


def _compare_versions(old: Saga, new: Saga, kept: Saga | None) -> Iterator[Change]:
    target = Target(old.name, old.version)
    versions = f"version {old.version} -> {new.version}"
    if new.version < old.version:
        yield Change.of(saga_rules.VERSION_LOWERED, new.span, new.name, versions)
    elif new.version > old.version:
        rule = saga_rules.VERSION_KEPT if kept else saga_rules.VERSION_GONE
        yield Change.of(rule, new.span, new.name, versions, None if kept else target)


def _compare_trigger(old: Saga, new: Saga) -> Iterator[Change]:
    if old.trigger.full_name != new.trigger.full_name:
        message = f"{old.trigger.full_name} -> {new.trigger.full_name}"
        yield Change.of(saga_rules.TRIGGER_CHANGED, new.span, new.name, message)
    elif old.trigger.input_type.full_name != new.trigger.input_type.full_name:
        message = f"{old.trigger.input_type.full_name} -> {new.trigger.input_type.full_name}"
        yield Change.of(saga_rules.INPUT_CHANGED, new.span, new.name, message)


def _compare_deadline(old: Saga, new: Saga) -> Iterator[Change]:
    message = f"deadline {in_words(old.deadline_s)} -> {in_words(new.deadline_s)}"
    if new.deadline_s < old.deadline_s:
        target = Target(old.name, old.version)
        yield Change.of(timing_rules.DEADLINE_LOWERED, new.span, new.name, message, target)
    elif new.deadline_s > old.deadline_s:
        yield Change.of(timing_rules.TIMING_RELAXED, new.span, new.name, message)


def _compare_first_write(old: Saga, new: Saga) -> Iterator[Change]:
    """There two runs of one saga meet, and one of them gives way."""
    was, now = _first_write(old), _first_write(new)
    if was and now and was != now:
        message = f"first write in {was} -> in {now}"
        yield Change.of(step_rules.FIRST_WRITE_MOVED, new.span, new.name, message)


def _first_write(saga: Saga) -> str | None:
    """The service that it goes to."""
    actions = (step.action for step in saga.calls)
    return next((action.service.name for action in actions if not action.method.is_read), None)


def _compare_idempotency(old: Saga, new: Saga) -> Iterator[Change]:
    if old.key != new.key:
        rule = key_rules.KEY_REQUIRED if new.key == "required" else key_rules.KEY_OPTIONAL
        yield Change.of(rule, new.span, new.name, f"idempotency key {old.key} -> {new.key}")
    if old.on_concurrent != new.on_concurrent:
        message = f"on_concurrent {old.on_concurrent} -> {new.on_concurrent}"
        yield Change.of(key_rules.CONCURRENT_CHANGED, new.span, new.name, message)
    if old.retention_s != new.retention_s:
        rule = (
            key_rules.REPLAY_SHORTENED if new.retention_s < old.retention_s else key_rules.REPLAY_LENGTHENED
        )
        message = f"retention {in_words(old.retention_s)} -> {in_words(new.retention_s)}"
        yield Change.of(rule, new.span, new.name, message)


def _compare_answer(old: Saga, new: Saga) -> Iterator[Change]:
    was, now = old.respond, new.respond
    if was.status != now.status:
        yield Change.of(edge_rules.STATUS_CHANGED, new.span, new.name, f"status {was.status} -> {now.status}")
    if was.after != now.after:
        message = f"answered after {was.after} -> after {now.after}"
        yield Change.of(edge_rules.ANSWER_MOVED, new.span, new.name, message)
    if (was.body and was.body.canonical()) != (now.body and now.body.canonical()):
        yield Change.of(edge_rules.ANSWER_BODY, new.span, new.name, "respond.body builds a different message")
    if now.wait_s < was.wait_s:
        message = f"respond.wait {in_words(was.wait_s)} -> {in_words(now.wait_s)}"
        yield Change.of(edge_rules.WAIT_LOWERED, new.span, new.name, message)
