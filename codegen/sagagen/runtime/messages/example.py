"""A request that can be tried at once: made of the contract's types and rules, and of its own `example` rules."""

import base64
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from sagagen.runtime.messages.example_values import value_of
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.rpc.errors import FieldViolation

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


def example(schema: Schema, message: Descriptor) -> dict[str, Any] | None:
    """A ProtoJSON object of `message` that is valid; None if none was found, as with rules in CEL without `example`."""
    made = _object(schema, message, 0)
    broken = _broken(schema, message, made)
    if broken:
        made = _without(made, message, broken)
        broken = _broken(schema, message, made)
    return None if broken else made


def _broken(schema: Schema, message: Descriptor, made: dict[str, Any]) -> list[FieldViolation]:
    filled = schema.message_type(message.full_name)()
    try:
        json_format.ParseDict(made, filled, descriptor_pool=schema.pool)
    except json_format.ParseError as problem:
        return [FieldViolation("", str(problem), "")]
    return list(schema.violations(filled))


def _without(made: dict[str, Any], message: Descriptor, broken: list[FieldViolation]) -> dict[str, Any]:
    """Fields that break rules are left out where they may be."""
    names = {each.field.partition(".")[0].partition("[")[0] for each in broken}
    optional = {field.name for field in message.fields if field.has_presence or field.is_repeated}
    return {name: value for name, value in made.items() if name not in names & optional}


def _object(schema: Schema, message: Descriptor, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        return {}
    return {field.name: _field(schema, field, depth) for field in _shown(schema, message)}


def _shown(schema: Schema, message: Descriptor) -> Iterator[FieldDescriptor]:
    """Fields without presence, messages, what is required, and the first member of each oneof that may be one."""
    chosen: set[str] = set()
    for field in message.fields:
        oneof = field.containing_oneof
        is_choice = oneof is not None and len(oneof.fields) > 1
        is_shown = not field.has_presence or field.message_type or field.is_required or is_choice
        if is_choice and oneof is not None:
            is_shown = oneof.name not in chosen
            chosen.add(oneof.name)
        rules = _rules(schema, field)
        if is_shown or (rules is not None and rules.required):
            yield field


def _field(schema: Schema, field: FieldDescriptor, depth: int) -> Any:
    rules = _rules(schema, field)
    if field.message_type and field.message_type.GetOptions().map_entry:
        return _map(schema, field, rules, depth)
    if not field.is_repeated:
        return _single(schema, field, rules, depth)
    of_list = rules.repeated if rules is not None and rules.HasField("repeated") else None
    items = of_list.items if of_list is not None and of_list.HasField("items") else None
    count = max(1, of_list.min_items) if of_list is not None else 1
    if of_list is not None and of_list.HasField("max_items"):
        count = min(count, of_list.max_items)
    return _distinct(_single(schema, field, items, depth), count)


def _distinct(value: Any, count: int) -> list[Any]:
    """Texts and numbers that differ from one another."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return [value] * count
    return [value if not n else f"{value}{n}" if isinstance(value, str) else value + n for n in range(count)]


def _map(schema: Schema, field: FieldDescriptor, rules: Any, depth: int) -> dict[str, Any]:
    of_map = rules.map if rules is not None and rules.HasField("map") else None
    if of_map is None or not of_map.min_pairs:
        return {}
    assert field.message_type, "a map has entries"
    key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    of_key, of_value = (
        getattr(of_map, name) if of_map.HasField(name) else None for name in ("keys", "values")
    )
    keys = _distinct(_single(schema, key, of_key, depth), of_map.min_pairs)
    return {str(each): _single(schema, value, of_value, depth) for each in keys}


def _single(schema: Schema, field: FieldDescriptor, rules: Any, depth: int) -> Any:
    kind = rules.WhichOneof("type") if rules is not None else None
    if kind not in (None, "repeated", "map", "any", "field_mask"):
        return value_of(kind, getattr(rules, kind), field.name, field.enum_type)
    if field.message_type is None:
        return _scalar(field)
    if field.message_type.full_name in _WELL_KNOWN:
        return _WELL_KNOWN[field.message_type.full_name]
    return _object(schema, field.message_type, depth + 1)


def _scalar(field: FieldDescriptor) -> Any:
    if field.enum_type:
        return field.enum_type.values[-1].name
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(field.name.encode()).decode()
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
