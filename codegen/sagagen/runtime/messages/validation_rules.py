"""Which rules of buf.validate messages have: whether any at all, and how much a field may hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf import empty_pb2, message_factory, unknown_fields
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from sagagen.runtime.messages.fields import is_map

_RULES = 1159
"""Number of buf.validate's extensions of message, oneof and field options."""


def has_rules(message: Descriptor) -> bool:
    """Whether a rule, of buf.validate or `required` of proto2, can apply to a message of this type, however deep.

    To ask protovalidate costs more than to know.
    """
    seen: set[str] = set()
    pending = [message]
    while pending:
        descriptor = pending.pop()
        if descriptor.full_name in seen:
            continue
        seen.add(descriptor.full_name)
        if has_own_rules(descriptor) or any(field.is_required for field in descriptor.fields):
            return True
        pending += [field.message_type for field in descriptor.fields if field.message_type]
    return False


def has_own_rules(message: Descriptor) -> bool:
    """Whether the type itself has one, or a field or oneof of it: what an empty message can break."""
    parts = (message, *message.fields, *message.oneofs)
    return any(_is_ruled(part.GetOptions().SerializeToString()) for part in parts)


def _is_ruled(options: bytes) -> bool:
    # Looked up by number: which pool the options were built in decides whether they know the extension by name.
    fields = unknown_fields.UnknownFieldSet(empty_pb2.Empty.FromString(options))
    return any(field.field_number == _RULES for field in fields)


@dataclass(frozen=True, slots=True)
class Counted:
    """How many elements, entries or characters a field may have."""

    limit: int
    rule: str
    """As protovalidate calls it: `repeated.max_items`."""
    description: str
    """In protovalidate's words, so that it does not matter who counts."""


def most_of(field: FieldDescriptor) -> Counted | None:
    """The contract's upper bound for a field's elements, entries or characters; None if it sets none."""
    rules = field_rules(field)
    if rules is None or rules.ignore == _IGNORE_ALWAYS:
        return None
    if rules.repeated.HasField("max_items"):
        limit = rules.repeated.max_items
        return Counted(limit, "repeated.max_items", f"must contain no more than {limit} item(s)")
    if rules.map.HasField("max_pairs"):
        limit = rules.map.max_pairs
        return Counted(limit, "map.max_pairs", f"map must be at most {limit} entries")
    if rules.string.HasField("max_len"):
        limit = rules.string.max_len
        return Counted(limit, "string.max_len", f"must be at most {limit} characters")
    return None


_BOUNDS = frozenset(
    {
        *("max_len", "len", "max_bytes", "len_bytes", "const", "in", "pattern", "max_items", "max_pairs"),
        *("uuid", "tuuid", "ip", "ipv4", "ipv6", "email", "hostname", "address", "host_and_port"),
    }
)
"""Rules that say how long a value can be, at least to who wrote them."""


def unbounded_fields(message: Descriptor) -> Sequence[str]:
    """Paths of a message's texts, lists and maps, those of its messages among them, that no rule bounds."""
    return list(_unbounded(message, "", frozenset()))


def _unbounded(message: Descriptor, before: str, above: frozenset[str]) -> Iterator[str]:
    if message.full_name in above:
        return
    for field in message.fields:
        path = f"{before}{field.name}"
        is_text = field.cpp_type == FieldDescriptor.CPPTYPE_STRING
        if (field.is_repeated or is_text) and not _is_bounded(field):
            yield path
        if field.message_type and not is_map(field):
            below = f"{path}[]." if field.is_repeated else f"{path}."
            yield from _unbounded(field.message_type, below, above | {message.full_name})


def _is_bounded(field: FieldDescriptor) -> bool:
    rules = field_rules(field)
    kind = rules.WhichOneof("type") if rules is not None else None
    return bool(kind) and any(rule.name in _BOUNDS for rule, _ in getattr(rules, kind).ListFields())


_IGNORE_ALWAYS = 3
"""buf.validate.IGNORE_ALWAYS."""


def field_rules(field: FieldDescriptor) -> Any:
    """The field's `buf.validate` rules; None where there are none.

    Options are parsed again with the contract's own pool, which knows the extension.
    """
    options = field.GetOptions().SerializeToString()
    if not options:
        return None
    pool = cast(DescriptorPool, cast(Any, field).file.pool)
    try:
        extension = pool.FindExtensionByName("buf.validate.field")
        options_type = message_factory.GetMessageClass(
            pool.FindMessageTypeByName("google.protobuf.FieldOptions")
        )
    except KeyError:
        return None
    parsed: Any = options_type.FromString(options)
    return parsed.Extensions[extension] if parsed.HasExtension(extension) else None
