"""Messages as what json.dumps takes: functions with a line for each field, made of descriptors when a route is.

google.protobuf's MessageToDict asks of every message anew what its fields are, which takes twice to five times as long.
It is still what writes well-known types and messages with extensions, and a property test holds the two together.
"""

import base64
import math
import struct
from collections.abc import Callable, Sequence
from keyword import iskeyword
from typing import Any, cast

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from sagagen.runtime.edge.json.texts import TEXTUAL
from sagagen.runtime.messages.fields import entry_fields, is_map

Plain = Callable[[Any], object]
"""What json.dumps takes, of a value as google.protobuf has it."""

_STRINGS = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})
"""Numbers that JSON's own, doubles, can't all hold."""
_FLOAT32 = struct.Struct("<f")
_FLOAT32_DIGITS = (6, 9)
"""Every decimal of so few digits survives 32 bits; and as many tell any two of them apart (IEEE 754)."""


class JsonEncoders:
    """Makes the functions; those of messages are kept by name, since a message may contain itself."""

    def __init__(self) -> None:
        self._messages: dict[str, Plain] = {}

    def message(self, descriptor: Descriptor) -> Plain:
        """With proto names, and fields without presence whether they are set or not."""
        name = descriptor.full_name
        if name not in self._messages:
            self._messages[name] = self._well_known(descriptor) or self._regular(descriptor)
        return self._messages[name]

    def field(self, field: FieldDescriptor) -> Plain:
        """For the value of a field: one, a list, or a map."""
        if is_map(field):
            key, value = entry_fields(field)
            return _map(_key if key.cpp_type == FieldDescriptor.CPPTYPE_BOOL else str, self._single(value))
        return _list(self._single(field)) if field.is_repeated else self._single(field)

    def _single(self, field: FieldDescriptor) -> Plain:
        if field.message_type:
            return self.message(field.message_type)
        if field.enum_type:
            return _enum(field.enum_type)
        if field.cpp_type in _STRINGS:
            return str
        if field.type == FieldDescriptor.TYPE_BYTES:
            return _base64
        if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
            return _float32
        return _float64 if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE else _as_it_is

    def _well_known(self, descriptor: Descriptor) -> Plain | None:
        if descriptor.full_name in TEXTUAL:
            return _text
        is_ours = not descriptor.full_name.startswith("google.protobuf.") and not descriptor.is_extendable
        return None if is_ours else _by_google

    def _regular(self, descriptor: Descriptor) -> Plain:
        # Asked of the class: a field may be called HasField, and messages have their fields as attributes.
        names: dict[str, Any] = {"has": message_factory.GetMessageClass(descriptor).HasField}

        def plain(message: Any) -> object:  # until its own fields, which may be of this type, have theirs
            return names["plain"](message)

        self._messages[descriptor.full_name] = plain
        lines = ["def plain(message):", "    members = {}"]
        for field in descriptor.fields:
            names[f"plain_{field.number}"] = convert = self.field(field)
            lines += [f"    {line}" for line in _putting(field, is_as_it_is=convert is _as_it_is)]
        lines.append("    return members")
        exec(compile("\n".join(lines), f"<JSON of {descriptor.full_name}>", "exec"), names)
        return cast(Plain, names["plain"])


def _putting(field: FieldDescriptor, *, is_as_it_is: bool) -> Sequence[str]:
    """Lines that give `members` the field's value, if it is to be written."""
    is_plain_name = field.name.isidentifier() and not iskeyword(field.name)
    value = f"message.{field.name}" if is_plain_name else f"getattr(message, {field.name!r})"
    put = f"members[{field.name!r}] = {value if is_as_it_is else f'plain_{field.number}({value})'}"
    if field.has_presence:
        return [f"if has(message, {field.name!r}):", f"    {put}"]
    return [put]


def _list(plain: Plain) -> Plain:
    return list if plain is _as_it_is else lambda values: [plain(value) for value in values]


def _map(key: Callable[[Any], str], plain: Plain) -> Plain:
    return lambda entries: {key(name): plain(entries[name]) for name in entries}


def _key(value: bool) -> str:
    return "true" if value else "false"


def _enum(enum: EnumDescriptor) -> Plain:
    if enum.full_name == "google.protobuf.NullValue":
        return lambda number: None
    names = {number: value.name for number, value in enum.values_by_number.items()}
    return lambda number: names.get(number, number)


def _float32(value: float) -> object:
    return shortest_float32(value) if math.isfinite(value) else _float64(value)


def shortest_float32(value: float) -> float:
    """The number with the fewest digits, six or more, that is `value` as a float of 32 bits: 0.1, not 0.10000000149."""
    for digits in range(_FLOAT32_DIGITS[0], _FLOAT32_DIGITS[1]):
        shorter = float(f"{value:.{digits}g}")
        if _rounded_to_float32(shorter) == value:
            return shorter
    return float(f"{value:.{_FLOAT32_DIGITS[1]}g}")


def _rounded_to_float32(value: float) -> float:
    """Infinity beyond what 32 bits can hold, which the largest of them is once it is rounded up."""
    try:
        return _FLOAT32.unpack(_FLOAT32.pack(value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def _float64(value: float) -> object:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _text(message: Any) -> str:
    return message.ToJsonString()


def _by_google(message: Message) -> object:
    return json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        descriptor_pool=cast(DescriptorPool, message.DESCRIPTOR.file.pool),
    )


def _as_it_is(value: Any) -> object:
    return value
