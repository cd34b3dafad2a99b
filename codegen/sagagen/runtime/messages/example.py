"""A request that can be tried at once, from the contract's own examples (`buf.validate`'s `example` rules)."""

from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from sagagen.runtime.messages.schema import Schema

_DEEPEST = 4
"""Recursive messages end here."""

_WELL_KNOWN: dict[str, Any] = {
    "google.protobuf.Timestamp": "2030-01-31T12:00:00Z",
    "google.protobuf.Duration": "1.5s",
    "google.protobuf.FieldMask": "",
    "google.protobuf.Empty": {},
    "google.protobuf.Any": {},
    "google.protobuf.Struct": {},
    "google.protobuf.Value": "text",
    "google.protobuf.ListValue": [],
    "google.protobuf.StringValue": "text",
    "google.protobuf.BytesValue": "",
    "google.protobuf.BoolValue": True,
    **{f"google.protobuf.{n}Value": 1 for n in ("Double", "Float", "Int32", "Int64", "UInt32", "UInt64")},
}
"""Messages whose ProtoJSON is not an object of their fields."""


def example(schema: Schema, message: Descriptor, depth: int = 0) -> dict[str, Any]:
    """A ProtoJSON object of `message`: its fields without presence and its messages, one element in each list."""
    if depth > _DEEPEST:
        return {}
    return {
        field.name: _field_example(schema, field, depth)
        for field in message.fields
        if not field.has_presence or field.message_type
    }


def _field_example(schema: Schema, field: FieldDescriptor, depth: int) -> Any:
    if field.message_type and field.message_type.GetOptions().map_entry:
        return {}
    value = example(schema, field.message_type, depth + 1) if field.message_type else _scalar(schema, field)
    return [value] if field.is_repeated else value


def _scalar(schema: Schema, field: FieldDescriptor) -> Any:
    rules = _rules(schema, field)
    if (
        rules is not None
        and (kind := rules.WhichOneof("type"))
        and kind not in ("repeated", "map", "enum", "any")
    ):
        examples: list[Any] = list(getattr(getattr(rules, kind), "example", ()))
        if examples:
            return examples[0]
    if field.enum_type:
        return field.enum_type.values[-1].name
    return {FieldDescriptor.CPPTYPE_STRING: field.name, FieldDescriptor.CPPTYPE_BOOL: True}.get(
        field.cpp_type, 1
    )


def _rules(schema: Schema, field: FieldDescriptor) -> Any:
    """The field's `buf.validate` rules; None where there are none.

    Options are parsed again with the contract's own pool, which knows the extension.
    """
    try:
        extension = schema.pool.FindExtensionByName("buf.validate.field")
        options_type = message_factory.GetMessageClass(schema.descriptor("google.protobuf.FieldOptions"))
    except KeyError:
        return None
    options: Any = options_type.FromString(field.GetOptions().SerializeToString())
    return options.Extensions[extension] if options.HasExtension(extension) else None
