"""What a handler can ask of the contract's classes: the fields of messages, and the members of enums."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from sagagen.contract.model import Mesh
from sagagen.python_names import PyClass, PythonNames, map_parts
from sagagen.python_naming import nested_types, top_level_types

_GOOGLE = "google.protobuf"
"""betterproto2 gives these messages methods of its own."""


class Many(Enum):
    ONE = "one"
    LIST = "list"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Holds:
    """A value that is a message, or that has messages as items or as the values of a dict."""

    message: PyClass
    many: Many = Many.ONE


@dataclass(frozen=True, slots=True)
class MessageShape:
    name: str
    """Full name in the contract."""
    fields: Mapping[str, Holds | None]
    """By attribute; None where the field holds no messages."""


@dataclass(frozen=True, slots=True)
class EnumShape:
    name: str
    members: frozenset[str]


Shape: TypeAlias = MessageShape | EnumShape
Shapes: TypeAlias = Mapping[PyClass, Shape]


def message_shapes(mesh: Mesh) -> Shapes:
    """All classes that are generated, but for Google's own."""
    names = mesh.names
    own = (each for each in all_types(names) if each.file.package != _GOOGLE)
    return {names.classes[each.full_name]: _shape(each, names) for each in own}


def all_types(names: PythonNames) -> Iterator[Descriptor | EnumDescriptor]:
    """Every message and enum that is generated."""
    for file in names.files:
        for top in top_level_types(file):
            yield top
            yield from _below(top)


def _below(named_type: Descriptor | EnumDescriptor) -> Iterator[Descriptor | EnumDescriptor]:
    if isinstance(named_type, Descriptor):
        for inner in nested_types(named_type):
            yield inner
            yield from _below(inner)


def _shape(named_type: Descriptor | EnumDescriptor, names: PythonNames) -> Shape:
    if isinstance(named_type, EnumDescriptor):
        return EnumShape(
            named_type.full_name, frozenset(names.enum_value(value) for value in named_type.values)
        )
    fields = {names.field(field): _holds(field, names) for field in named_type.fields}
    return MessageShape(named_type.full_name, fields)


def _holds(field: FieldDescriptor, names: PythonNames) -> Holds | None:
    if entry := map_parts(field):
        value = _holds(entry[1], names)
        return Holds(value.message, Many.MAP) if value else None
    message = field.message_type
    if message is None or names.is_unwrapped(message) or message.full_name not in names.classes:
        return None
    return Holds(names.message(message), Many.LIST if field.is_repeated else Many.ONE)
