"""A message as JSON for people, without what the contract says `debug_redact` of."""

from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from sagagen.runtime.messages.fields import entry_fields
from sagagen.runtime.wire import REDACTED


def redacted(message: Message) -> dict[str, Any]:
    """ProtoJSON with the proto's names; a field that is redacted has REDACTED for its value, if it has one."""
    shown = json_format.MessageToDict(message, preserving_proto_field_name=True)
    for field, value in message.ListFields():
        if field.GetOptions().debug_redact:
            shown[field.name] = REDACTED
        elif field.message_type is not None and field.name in shown:
            shown[field.name] = _within(field, value, shown[field.name])
    return shown


def _within(field: FieldDescriptor, value: Any, shown: Any) -> Any:
    """A field's messages, one by one."""
    assert field.message_type, "the field's type is a message"
    if field.message_type.GetOptions().map_entry:
        if entry_fields(field)[1].message_type is None:
            return shown
        keys = {_as_text(key): key for key in value}
        return {text: _message(value[keys[text]], each) for text, each in shown.items()}
    if field.is_repeated:
        return [
            _message(each, as_json) for each, as_json in zip(value, cast("list[Any]", shown), strict=True)
        ]
    return _message(value, shown)


def _as_text(key: object) -> str:
    """A map's key in JSON."""
    return str(key).lower() if isinstance(key, bool) else str(key)


def _message(message: Message, shown: Any) -> Any:
    # Those have JSON forms of their own, and nothing to redact; but what an Any holds is anything.
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        return REDACTED
    return shown if message.DESCRIPTOR.file.package == "google.protobuf" else redacted(message)
