"""Whether messages have rules of buf.validate at all: to ask protovalidate costs more than to know."""

from google.protobuf import empty_pb2, unknown_fields
from google.protobuf.descriptor import Descriptor

_RULES = 1159
"""Number of buf.validate's extensions of message, oneof and field options."""


def has_rules(message: Descriptor) -> bool:
    """Whether any buf.validate rule can apply to a message of this type, however deep."""
    seen: set[str] = set()
    pending = [message]
    while pending:
        descriptor = pending.pop()
        if descriptor.full_name in seen:
            continue
        seen.add(descriptor.full_name)
        if has_own_rules(descriptor):
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
