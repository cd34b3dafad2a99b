"""The types of expressions: CEL's, with the known range of a number.

Two integer types are equal whatever their ranges: ranges decide where a check is emitted, never what is allowed.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from sagagen.expression.literals import INT64_HIGH, INT64_LOW, UINT64_HIGH


@dataclass(frozen=True, slots=True)
class Integer:
    is_signed: bool
    low: int = field(compare=False)
    high: int = field(compare=False)

    def __str__(self) -> str:
        return "int" if self.is_signed else "uint"

    def contains(self, other: "Integer") -> bool:
        return self.low <= other.low and other.high <= self.high


@dataclass(frozen=True, slots=True)
class Double:
    is_single: bool = field(default=False, compare=False)
    """Whether it is known to be exact as a 32-bit float."""

    def __str__(self) -> str:
        return "double"


class Simple(StrEnum):
    BOOL = "bool"
    STRING = "string"
    BYTES = "bytes"
    NULL = "null"
    TIMESTAMP = "timestamp"
    DURATION = "duration"


@dataclass(frozen=True, slots=True)
class MessageType:
    name: str
    descriptor: Descriptor = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class EnumType:
    name: str
    descriptor: EnumDescriptor = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Any, Struct, Value, ListValue: nothing to check against, so a value is only passed on as it is."""

    name: str
    descriptor: Descriptor = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Wrapper:
    """A field of a google.protobuf wrapper type: a plain value, or null."""

    inner: "Type"

    def __str__(self) -> str:
        return f"wrapper({self.inner})"


@dataclass(frozen=True, slots=True)
class ListType:
    element: "Type | None"
    """None for the empty list, which is a list of anything."""

    def __str__(self) -> str:
        return f"list({self.element or ''})"


@dataclass(frozen=True, slots=True)
class MapType:
    key: "Type | None"
    """None for the empty map, which is a map of anything to anything."""
    value: "Type | None"

    def __str__(self) -> str:
        return f"map({self.key}, {self.value})" if self.key else "map()"


Type: TypeAlias = Integer | Double | Simple | MessageType | EnumType | Dynamic | Wrapper | ListType | MapType

INT = Integer(True, INT64_LOW, INT64_HIGH)
UINT = Integer(False, 0, UINT64_HIGH)
INT32 = Integer(True, -(2**31), 2**31 - 1)
UINT32 = Integer(False, 0, 2**32 - 1)
SIZE = Integer(True, 0, INT64_HIGH)
DOUBLE = Double()
FLOAT = Double(is_single=True)

_SCALARS: dict[int, Type] = {
    FieldDescriptor.TYPE_DOUBLE: DOUBLE,
    FieldDescriptor.TYPE_FLOAT: FLOAT,
    FieldDescriptor.TYPE_INT64: INT,
    FieldDescriptor.TYPE_SINT64: INT,
    FieldDescriptor.TYPE_SFIXED64: INT,
    FieldDescriptor.TYPE_INT32: INT32,
    FieldDescriptor.TYPE_SINT32: INT32,
    FieldDescriptor.TYPE_SFIXED32: INT32,
    FieldDescriptor.TYPE_UINT64: UINT,
    FieldDescriptor.TYPE_FIXED64: UINT,
    FieldDescriptor.TYPE_UINT32: UINT32,
    FieldDescriptor.TYPE_FIXED32: UINT32,
    FieldDescriptor.TYPE_BOOL: Simple.BOOL,
    FieldDescriptor.TYPE_STRING: Simple.STRING,
    FieldDescriptor.TYPE_BYTES: Simple.BYTES,
}
_WELL_KNOWN: dict[str, Type] = {
    "google.protobuf.Timestamp": Simple.TIMESTAMP,
    "google.protobuf.Duration": Simple.DURATION,
    "google.protobuf.DoubleValue": Wrapper(DOUBLE),
    "google.protobuf.FloatValue": Wrapper(FLOAT),
    "google.protobuf.Int64Value": Wrapper(INT),
    "google.protobuf.Int32Value": Wrapper(INT32),
    "google.protobuf.UInt64Value": Wrapper(UINT),
    "google.protobuf.UInt32Value": Wrapper(UINT32),
    "google.protobuf.BoolValue": Wrapper(Simple.BOOL),
    "google.protobuf.StringValue": Wrapper(Simple.STRING),
    "google.protobuf.BytesValue": Wrapper(Simple.BYTES),
}
_DYNAMIC = frozenset(f"google.protobuf.{name}" for name in ("Any", "Struct", "Value", "ListValue"))


def message_type(descriptor: Descriptor) -> Type:
    """The type of a message: a well-known one has a type of its own."""
    if descriptor.full_name in _DYNAMIC:
        return Dynamic(descriptor.full_name, descriptor)
    return _WELL_KNOWN.get(descriptor.full_name) or MessageType(descriptor.full_name, descriptor)


def field_type(descriptor: FieldDescriptor) -> Type:
    """The type of a field, as a list or map where it is one."""
    if is_map(descriptor):
        key, value = map_fields(descriptor)
        return MapType(element_type(key), element_type(value))
    if descriptor.is_repeated:
        return ListType(element_type(descriptor))
    return _single_type(descriptor)


def element_type(descriptor: FieldDescriptor) -> Type:
    """The type of one element of a repeated or map field. Elements are never null."""
    single = _single_type(descriptor)
    return single.inner if isinstance(single, Wrapper) else single


def _single_type(descriptor: FieldDescriptor) -> Type:
    if descriptor.enum_type is not None:
        return EnumType(descriptor.enum_type.full_name, descriptor.enum_type)
    if descriptor.message_type is not None:
        return message_type(descriptor.message_type)
    return _SCALARS[descriptor.type]


def is_map(descriptor: FieldDescriptor) -> bool:
    message = descriptor.message_type
    return message is not None and message.GetOptions().map_entry


def map_fields(descriptor: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor]:
    """Key and value of a map field's entries."""
    assert descriptor.message_type is not None, f"{descriptor.full_name} is no map"
    entry = descriptor.message_type.fields_by_name
    return entry["key"], entry["value"]


def has_presence(descriptor: FieldDescriptor) -> bool:
    """Whether the field can be unset, which is None in Python."""
    return not descriptor.is_repeated and descriptor.has_presence


def plain(type_: Type) -> Type:
    """The type of the value when it is not null."""
    return type_.inner if isinstance(type_, Wrapper) else type_


def is_dynamic(type_: Type | None) -> bool:
    match type_:
        case Dynamic():
            return True
        case ListType(element):
            return is_dynamic(element)
        case MapType(_, value):
            return is_dynamic(value)
        case _:
            return False


def is_comparable(type_: Type | None) -> bool:
    """Whether `==` means the same in CEL and Python: not for messages, and not for lists that may hold NaN."""
    match type_:
        case ListType(element):
            return not isinstance(element, Double) and is_comparable(element)
        case MapType(_, value):
            return not isinstance(value, Double) and is_comparable(value)
        case MessageType() | Dynamic():
            return False
        case _:
            return True


def joined(left: Type, right: Type) -> Type | None:
    """The type of a value that is either of two, or None where they don't go together."""
    match left, right:
        case Integer(), Integer() if left == right:
            return Integer(left.is_signed, min(left.low, right.low), max(left.high, right.high))
        case Double(), Double():
            return Double(left.is_single and right.is_single)
        case ListType(), ListType():
            return _joined_lists(left, right)
        case MapType(), MapType():
            return _joined_maps(left, right)
        case Wrapper(), _ if joined(left.inner, plain(right)) or right is Simple.NULL:
            return Wrapper(
                left.inner if right is Simple.NULL else joined(left.inner, plain(right)) or left.inner
            )
        case _, Wrapper():
            return joined(right, left)
        case _:
            return left if left == right else None


def _joined_lists(left: ListType, right: ListType) -> Type | None:
    if left.element is None or right.element is None:
        return left if right.element is None else right
    element = joined(left.element, right.element)
    return ListType(element) if element else None


def _joined_maps(left: MapType, right: MapType) -> Type | None:
    if left.key is None or right.key is None or left.value is None or right.value is None:
        return left if right.key is None else right
    key, value = joined(left.key, right.key), joined(left.value, right.value)
    return MapType(key, value) if key and value else None
