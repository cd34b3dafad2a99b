"""Message classes of betterproto2 described to google.protobuf: same field numbers and types, so same bytes."""

import dataclasses
import sys
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, cast

import betterproto2
from betterproto2 import FieldMetadata
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FieldProto = descriptor_pb2.FieldDescriptorProto

MAP = "map"
MESSAGE = "message"
ENUM = "enum"


def described(message_class: type[betterproto2.Message]) -> dict[str, FieldMetadata]:
    """A class's fields by attribute."""
    return {field.name: _metadata(field) for field in _fields(message_class)}


def _metadata(field: Any) -> FieldMetadata:
    return FieldMetadata.get(field)  # pyright: ignore[reportUnknownMemberType] - it takes a Field of anything


@cache
def defaults(message_class: type[betterproto2.Message]) -> Mapping[str, Any]:
    """The fields' defaults by attribute, to compare with: betterproto2 makes each anew, under filters for warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a field whose type is deprecated
        return {field.name: field.default_factory() for field in _fields(message_class)}


def _fields(message_class: type[betterproto2.Message]) -> Sequence[Any]:
    """Fields of a dataclass, which every class of messages is; betterproto2's own type does not say so."""
    return dataclasses.fields(cast(Any, message_class))


@cache
def classes(message_class: type[betterproto2.Message]) -> dict[str, type[Any]]:
    """Class of each field's value by attribute, and by `attribute.value` for the values of a map.

    Read from the annotations that betterproto2's compiler writes: `A`, `A | None`, `list[A]` or `dict[str, A]`.
    """
    found: dict[str, type[Any]] = {}
    hints = typing.get_type_hints(message_class, vars(sys.modules[message_class.__module__]), {})
    for name, meta in described(message_class).items():
        inner = typing.get_args(hints[name])
        if meta.map_meta:
            found[f"{name}.value"] = inner[1]
        else:
            found[name] = inner[0] if inner else hints[name]
    return found


def has_presence(meta: FieldMetadata) -> bool:
    return bool(meta.optional or meta.group) or (meta.proto_type == MESSAGE and not meta.repeated)


def native_type(message_class: type[betterproto2.Message]) -> type[Any]:
    """google.protobuf's type for a class and all that it holds: same numbers and types, so same bytes."""
    numbers: dict[type[betterproto2.Message], str] = {}
    file = descriptor_pb2.FileDescriptorProto(name="wire.proto", syntax="proto3")
    pending = [message_class]
    numbers[message_class] = "M0"

    def name_of(nested: type[betterproto2.Message]) -> str:
        if nested not in numbers:
            numbers[nested] = f"M{len(numbers)}"
            pending.append(nested)
        return f".{numbers[nested]}"

    while pending:
        next_class = pending.pop()
        _describe(next_class, file.message_type.add(name=numbers[next_class]), name_of)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # pyright: ignore[reportUnknownMemberType] - stub takes Any
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("M0"))


def _describe(
    message_class: type[betterproto2.Message],
    into: descriptor_pb2.DescriptorProto,
    name_of: Callable[[type[betterproto2.Message]], str],
) -> None:
    for name, meta in described(message_class).items():
        field = into.field.add(name=f"f{meta.number}", number=meta.number, label=FieldProto.LABEL_OPTIONAL)
        if meta.repeated or meta.map_meta:
            field.label = FieldProto.LABEL_REPEATED
        if meta.map_meta:
            entry = into.nested_type.add(name=f"F{meta.number}Entry")
            entry.options.map_entry = True
            field.type, field.type_name = FieldProto.TYPE_MESSAGE, entry.name
            for part, part_name in zip(meta.map_meta, ("key", "value"), strict=True):
                member = entry.field.add(name=part_name, number=part.number, label=FieldProto.LABEL_OPTIONAL)
                _describe_type(member, part, message_class, f"{name}.value", name_of)
        else:
            _describe_type(field, meta, message_class, name, name_of)
        if meta.group or meta.optional:
            field.oneof_index = _oneof_index(into, meta.group or f"optional_{name}")


def _describe_type(
    field: descriptor_pb2.FieldDescriptorProto,
    meta: FieldMetadata,
    message_class: type[betterproto2.Message],
    name: str,
    name_of: Callable[[type[betterproto2.Message]], str],
) -> None:
    """An enum's numbers are an int32's on the wire, and any number is allowed in either."""
    kind = "int32" if meta.proto_type == ENUM else meta.proto_type
    field.type = FieldProto.Type.Value(f"TYPE_{kind.upper()}")
    if kind == MESSAGE:
        nested = meta.unwrap() if meta.unwrap else classes(message_class)[name]
        field.type_name = name_of(cast(type[betterproto2.Message], nested))


def _oneof_index(into: descriptor_pb2.DescriptorProto, name: str) -> int:
    """A oneof of one member is how proto3 spells `optional`."""
    names = [each.name for each in into.oneof_decl]
    if name not in names:
        into.oneof_decl.add(name=name)
        names.append(name)
    return names.index(name)
