"""What changed in options that buf leaves alone: debug_redact, and the rules of buf.validate."""

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from sagagen.compatibility.change import Change, Rule
from sagagen.compatibility.rules import compensations as compensation_rules
from sagagen.compatibility.rules import edge as edge_rules
from sagagen.compatibility.rules import services as service_rules
from sagagen.contract.model import Mesh
from sagagen.source import Span

Described = Descriptor | FieldDescriptor

TIGHTER_IF_MORE = frozenset({"min_len", "min_bytes", "min_items", "min_pairs", "gt", "gte"})
TIGHTER_IF_LESS = frozenset({"max_len", "max_bytes", "max_items", "max_pairs", "lt", "lte"})


def compare_options(old: Mesh, new: Mesh) -> Iterator[Change]:
    before = {message.full_name: message for message in _messages(old)}
    undoing = set(_names_reached(_compensation_requests(new)))
    asked = set(_names_reached(_edge_requests(new)))

    def meaning(name: str) -> Rule | None:
        return (
            compensation_rules.COMPENSATION_RULES
            if name in undoing
            else edge_rules.EDGE_RULES
            if name in asked
            else None
        )

    for message in _messages(new):
        if message.full_name in before:
            yield from _Pair(new, before[message.full_name], message, meaning(message.full_name)).changes()


class _Pair:
    """A message as it was and as it is. `rule`: the rule that stricter validation breaks; None if it breaks none."""

    def __init__(self, mesh: Mesh, old: Descriptor, new: Descriptor, rule: Rule | None) -> None:
        self._mesh = mesh
        self._old = old
        self._new = new
        self._rule = rule

    def changes(self) -> Iterator[Change]:
        before = {field.number: field for field in self._old.fields}
        yield from self._validated(self._old, self._new, self._new.full_name)
        for field in self._new.fields:
            if field.number in before:
                yield from self._redaction(before[field.number], field)
                yield from self._validated(before[field.number], field, field.full_name)
            elif self._rule and _is_stricter({}, _rules(field)):
                message = f"the new field {field.name} has rules that its default value breaks, or may break"
                yield Change.of(self._rule, self._span(field.full_name), field.full_name, message)

    def _redaction(self, old: FieldDescriptor, new: FieldDescriptor) -> Iterator[Change]:
        was, now = old.GetOptions().debug_redact, new.GetOptions().debug_redact
        if was != now:
            rule = service_rules.REDACTION_ADDED if now else service_rules.REDACTION_REMOVED
            message = f"debug_redact {str(was).lower()} -> {str(now).lower()}"
            yield Change.of(rule, self._span(new.full_name), new.full_name, message)

    def _validated(self, old: Described, new: Described, name: str) -> Iterator[Change]:
        was, now = _rules(old), _rules(new)
        if self._rule is None or was == now:
            return
        rule = self._rule if _is_stricter(was, now) else edge_rules.RULES_RELAXED
        yield Change.of(rule, self._span(name), name, f"rules {_shown(was)} -> {_shown(now)}")

    def _span(self, name: str) -> Span:
        return self._mesh.span(name)


def _rules(described: Described) -> dict[str, Any]:
    """The rules of buf.validate on a field or message: dotted name -> value."""
    known = _in_its_pool(described)
    for option, value in known.ListFields() if known else ():
        if option.full_name in {"buf.validate.field", "buf.validate.message"}:
            return dict(_flat(value, ""))
    return {}


def _in_its_pool(described: Described) -> Message | None:
    """Its options, read by the pool that knows the extensions; None if the pool knows no options at all."""
    message = described.containing_type if isinstance(described, FieldDescriptor) else described
    assert message, "extensions are not among the fields of a message"
    data = described.GetOptions().SerializeToString()
    name = described.GetOptions().DESCRIPTOR.full_name
    try:
        options = message.file.pool.FindMessageTypeByName(name)
    except KeyError:
        return None
    return message_factory.GetMessageClass(options).FromString(data)


def _flat(rules_: Message, prefix: str) -> Iterator[tuple[str, Any]]:
    for field, value in rules_.ListFields():
        name = f"{prefix}{field.name}"
        if _is_group_of_rules(field):
            yield from _flat(value, f"{name}.")
        elif field.is_repeated:
            yield name, tuple(str(each) for each in value)
        else:
            yield name, value if not isinstance(value, Message) else str(value)


def _is_group_of_rules(field: FieldDescriptor) -> bool:
    nested = field.message_type
    return nested is not None and not field.is_repeated and nested.file.package == "buf.validate"


def _is_stricter(was: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether something that was valid may now be invalid; yes if that is uncertain."""
    return any(_is_tighter(name, was.get(name), now.get(name)) for name in was.keys() | now.keys())


def _is_tighter(name: str, was: Any, now: Any) -> bool:
    last = name.rpartition(".")[2]
    if was == now:
        return False
    if now is None or (last == "required" and not now):
        return False
    if was is None:
        return True
    if last in TIGHTER_IF_MORE:
        return now > was
    if last in TIGHTER_IF_LESS:
        return now < was
    if last == "in":
        return not set(was) <= set(now)
    return True


def _shown(rules_: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(rules_.items())) or "none"


def _messages(mesh: Mesh) -> Iterator[Descriptor]:
    def nested(messages: Iterable[Descriptor]) -> Iterator[Descriptor]:
        for message in messages:
            yield message
            yield from nested(message.nested_types)

    for file in mesh.files:
        yield from nested(file.message_types_by_name.values())


def _compensation_requests(mesh: Mesh) -> Iterator[Descriptor]:
    """Of older versions too: open sagas on them may still have to be undone."""
    for saga in (*mesh.sagas, *mesh.kept):
        for step in saga.calls:
            if step.compensation:
                yield step.compensation.method.descriptor.input_type


def _edge_requests(mesh: Mesh) -> Iterator[Descriptor]:
    yield from (route.method.input_type for route in mesh.routes)
    for saga in (*mesh.sagas, *mesh.kept):
        yield from (step.action.method.descriptor.input_type for step in saga.calls)


def _names_reached(messages: Iterable[Descriptor]) -> Iterator[str]:
    """Full names of the messages and of all in them."""
    seen: set[str] = set()
    pending = list(messages)
    while pending:
        message = pending.pop()
        if message.full_name not in seen:
            seen.add(message.full_name)
            yield message.full_name
            pending += [field.message_type for field in message.fields if field.message_type]
