"""Protobuf's wire format for betterproto2's message classes, fast.

betterproto2 looks up each field's description anew for every message, and enters `warnings.catch_warnings` for each
field that it writes: 270 us for an order of the shop. Here each class's fields are turned once into functions, which
take a tenth of that. What is written and read is the same, apart from what betterproto2 does wrong: integers out of
range are refused instead of cut, truncated data is refused instead of padded, of the members of a oneof the last one
read wins, and a message that comes twice is merged.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar

import betterproto2
from betterproto2 import FieldMetadata, Message

MessageT = TypeVar("MessageT", bound=Message)

_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
_MAX_VARINT_BITS = 70
_BYTES = tuple(bytes((number,)) for number in range(256))

Write = Callable[[Any], bytes]
Read = Callable[[bytes, int], tuple[Any, int]]
"""From the data and a position to the value and the position after it."""
Load = Callable[[dict[str, Any], bytes, int], int]
"""Reads a field into an object's attributes; returns the position after it."""


class MessagePool(betterproto2.MessagePool):
    """Gives each message class that registers the codec of this module."""

    def register_message(self, package_name: str, message_name: str, message_type: type[Message]) -> None:
        super().register_message(package_name, message_name, message_type)
        message_type.__bytes__ = encode  # pyright: ignore[reportAttributeAccessIssue] - another name for `self`
        message_type.parse = classmethod(parse)  # pyright: ignore[reportAttributeAccessIssue] - bound to each class


def encode(message: Message) -> bytes:
    """The message's bytes. Raises ValueError for an integer out of range, TypeError or AttributeError for a value of
    another type than its field's."""
    values = vars(message)
    parts = [
        write(value)
        for name, has_presence, write in codec_of(type(message)).fields
        if (value := values[name]) or (has_presence and value is not None)
    ]
    if values["_unknown_fields"]:
        parts.append(values["_unknown_fields"])
    return b"".join(parts)


def parse(message_type: type[MessageT], data: bytes) -> MessageT:
    """The message that the bytes encode, with fields that the class lacks. Raises ValueError if they encode none."""
    message = message_type()
    try:
        _load(codec_of(message_type).loads, vars(message), bytes(data))
    except (IndexError, struct.error) as error:
        raise ValueError(f"the data of a {message_type.__name__} ends in the middle of a field") from error
    return message


@dataclass(frozen=True, slots=True)
class Codec:
    """A class's fields."""

    fields: tuple[tuple[str, bool, Write], ...]
    """Name; whether a value that equals the type's zero is written too; and how."""
    loads: Mapping[int, Load]
    """By tag: number and wire type."""


@cache
def codec_of(message_type: type[Message]) -> Codec:
    """Made at the first use of a class, since its fields' types may be declared after it."""
    described = message_type._betterproto  # pyright: ignore[reportPrivateUsage]
    fields: list[tuple[str, bool, Write]] = []
    loads: dict[int, Load] = {}
    for name, meta in described.meta_by_field_name.items():
        if meta.proto_type == betterproto2.TYPE_MAP:
            write, loaded = _map(name, meta, described.cls_by_field[f"{name}.value"])
        else:
            others = _other_members(described.meta_by_field_name, name)
            kind = _kind(meta, described.cls_by_field[name])
            write, loaded = (
                _repeated(name, meta, kind) if meta.repeated else _single(name, meta, kind, others)
            )
        fields.append((name, _has_presence(meta), write))
        loads |= loaded
    return Codec(tuple(fields), loads)


def _other_members(fields: Mapping[str, FieldMetadata], name: str) -> tuple[str, ...]:
    """Of the field's oneof; none if it is in none."""
    group = fields[name].group
    return tuple(other for other, meta in fields.items() if group and meta.group == group and other != name)


def _has_presence(meta: FieldMetadata) -> bool:
    is_single = not meta.repeated and meta.proto_type != betterproto2.TYPE_MAP
    is_optional = bool(meta.optional or meta.group) or meta.proto_type == betterproto2.TYPE_MESSAGE
    return is_single and is_optional


def _load(loads: Mapping[int, Load], values: dict[str, Any], data: bytes) -> None:
    position, end = 0, len(data)
    while position < end:
        begin = position
        tag, position = _read_varint(data, position)
        if load := loads.get(tag):
            position = load(values, data, position)
        else:
            position = _skip(tag, data, position)
            values["_unknown_fields"] += data[begin:position]


# -- kinds of values ---------------------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """How a single value is written, without its tag, and read."""

    wire_type: int
    write: Write
    read: Read
    zero: Callable[[], Any]


def _kind(meta: FieldMetadata, value_type: type) -> _Kind:
    if meta.proto_type == betterproto2.TYPE_ENUM:
        return _Kind(_VARINT, partial(_write_int, 32), partial(_read_enum, value_type), lambda: value_type(0))
    if meta.proto_type != betterproto2.TYPE_MESSAGE:
        return _SCALARS[meta.proto_type]
    if meta.unwrap is None:
        return _Kind(_LENGTH, _write_message, partial(_read_message, value_type), value_type)
    wrapper: Any = meta.unwrap()
    return _Kind(
        _LENGTH,
        partial(_write_wrapped, wrapper),
        partial(_read_wrapped, wrapper),
        lambda: wrapper().to_wrapped(),
    )


def _varint(value: int) -> bytes:
    if 0 <= value < 0x80:
        return _BYTES[value]
    rest = value & 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    byte = data[position]
    if byte < 0x80:
        return byte, position + 1
    value, shift = byte & 0x7F, 7
    while shift < _MAX_VARINT_BITS:
        position += 1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position + 1
        shift += 7
    raise ValueError("a number has more than ten bytes")


def _write_int(bits: int, value: int) -> bytes:
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise ValueError(f"{value} is no signed number of {bits} bits")
    return _varint(value)


def _read_int(bits: int, data: bytes, position: int) -> tuple[int, int]:
    value, position = _read_varint(data, position)
    sign = 1 << (bits - 1)
    return ((value & ((1 << bits) - 1)) ^ sign) - sign, position


def _write_uint(bits: int, value: int) -> bytes:
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{value} is no unsigned number of {bits} bits")
    return _varint(value)


def _read_uint(bits: int, data: bytes, position: int) -> tuple[int, int]:
    value, position = _read_varint(data, position)
    return value & ((1 << bits) - 1), position


def _write_sint(bits: int, value: int) -> bytes:
    """Zigzag: numbers near zero are short, whatever their sign."""
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise ValueError(f"{value} is no signed number of {bits} bits")
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _read_sint(bits: int, data: bytes, position: int) -> tuple[int, int]:
    value, position = _read_uint(bits, data, position)
    return (value >> 1) ^ -(value & 1), position


def _write_bool(value: bool) -> bytes:
    return _BYTES[1 if value else 0]


def _read_bool(data: bytes, position: int) -> tuple[bool, int]:
    value, position = _read_varint(data, position)
    return value != 0, position


def _read_enum(value_type: type, data: bytes, position: int) -> tuple[Any, int]:
    value, position = _read_int(32, data, position)
    return value_type(value), position


def _fixed(wire_type: int, letter: str, zero: Callable[[], Any]) -> _Kind:
    layout = struct.Struct(f"<{letter}")

    def write(value: Any) -> bytes:
        try:
            return layout.pack(value)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{value!r} does not fit: {error}") from error

    def read(data: bytes, position: int) -> tuple[Any, int]:
        return layout.unpack_from(data, position)[0], position + layout.size

    return _Kind(wire_type, write, read, zero)


def _slice(data: bytes, position: int) -> tuple[bytes, int]:
    length, begin = _read_varint(data, position)
    end = begin + length
    if end > len(data):
        raise IndexError(end)
    return data[begin:end], end


def _prefixed(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _write_text(value: str) -> bytes:
    return _prefixed(value.encode())


def _read_text(data: bytes, position: int) -> tuple[str, int]:
    text, position = _slice(data, position)
    return text.decode(), position


def _write_message(value: Message) -> bytes:
    return _prefixed(bytes(value))


def _read_message(message_type: type[Message], data: bytes, position: int) -> tuple[Message, int]:
    encoded, position = _slice(data, position)
    return message_type.parse(encoded), position


def _write_wrapped(wrapper: Any, value: Any) -> bytes:
    return _prefixed(bytes(wrapper.from_wrapped(value)))


def _read_wrapped(wrapper: Any, data: bytes, position: int) -> tuple[Any, int]:
    encoded, position = _slice(data, position)
    return wrapper.parse(encoded).to_wrapped(), position


_SCALARS = {
    betterproto2.TYPE_BOOL: _Kind(_VARINT, _write_bool, _read_bool, bool),
    betterproto2.TYPE_INT32: _Kind(_VARINT, partial(_write_int, 32), partial(_read_int, 32), int),
    betterproto2.TYPE_INT64: _Kind(_VARINT, partial(_write_int, 64), partial(_read_int, 64), int),
    betterproto2.TYPE_UINT32: _Kind(_VARINT, partial(_write_uint, 32), partial(_read_uint, 32), int),
    betterproto2.TYPE_UINT64: _Kind(_VARINT, partial(_write_uint, 64), partial(_read_uint, 64), int),
    betterproto2.TYPE_SINT32: _Kind(_VARINT, partial(_write_sint, 32), partial(_read_sint, 32), int),
    betterproto2.TYPE_SINT64: _Kind(_VARINT, partial(_write_sint, 64), partial(_read_sint, 64), int),
    betterproto2.TYPE_FLOAT: _fixed(_FIXED_32, "f", float),
    betterproto2.TYPE_DOUBLE: _fixed(_FIXED_64, "d", float),
    betterproto2.TYPE_FIXED32: _fixed(_FIXED_32, "I", int),
    betterproto2.TYPE_FIXED64: _fixed(_FIXED_64, "Q", int),
    betterproto2.TYPE_SFIXED32: _fixed(_FIXED_32, "i", int),
    betterproto2.TYPE_SFIXED64: _fixed(_FIXED_64, "q", int),
    betterproto2.TYPE_STRING: _Kind(_LENGTH, _write_text, _read_text, str),
    betterproto2.TYPE_BYTES: _Kind(_LENGTH, _prefixed, _slice, bytes),
}


# -- fields ------------------------------------------------------------------------------------------------------------


def _single(
    name: str, meta: FieldMetadata, kind: _Kind, others: tuple[str, ...]
) -> tuple[Write, dict[int, Load]]:
    tag = meta.number << 3 | kind.wire_type
    prefix, write_value, read = _varint(tag), kind.write, kind.read
    is_message = meta.proto_type == betterproto2.TYPE_MESSAGE

    def write(value: Any) -> bytes:
        return prefix + write_value(value)

    def load(values: dict[str, Any], data: bytes, position: int) -> int:
        if is_message and values[name] is not None:
            merged, end = _merged(write_value(values[name]), data, position)
            values[name] = read(merged, 0)[0]
        else:
            values[name], end = read(data, position)
        for other in others:
            values[other] = None
        return end

    return write, {tag: load}


def _merged(earlier: bytes, data: bytes, position: int) -> tuple[bytes, int]:
    """Two encodings of a message, one after the other, encode both merged."""
    later, end = _slice(data, position)
    return _prefixed(_slice(earlier, 0)[0] + later), end


def _repeated(name: str, meta: FieldMetadata, kind: _Kind) -> tuple[Write, dict[int, Load]]:
    each_tag, packed_tag = meta.number << 3 | kind.wire_type, meta.number << 3 | _LENGTH
    is_packed = kind.wire_type != _LENGTH
    prefix, write_value, read = _varint(packed_tag), kind.write, kind.read

    def write_each(value: list[Any]) -> bytes:
        return b"".join([prefix + write_value(item) for item in value])

    def write_packed(value: list[Any]) -> bytes:
        return prefix + _prefixed(b"".join([write_value(item) for item in value]))

    def load_one(values: dict[str, Any], data: bytes, position: int) -> int:
        item, position = read(data, position)
        values[name].append(item)
        return position

    def load_packed(values: dict[str, Any], data: bytes, position: int) -> int:
        items, end = _slice(data, position)
        at = 0
        while at < len(items):
            item, at = read(items, at)
            values[name].append(item)
        return end

    # Both forms are read, whichever the sender chose; ours is the one that proto3 prescribes.
    packed_load = {packed_tag: load_packed} if is_packed else {}
    return (write_packed if is_packed else write_each), {each_tag: load_one, **packed_load}


def _map(name: str, meta: FieldMetadata, value_type: type) -> tuple[Write, dict[int, Load]]:
    assert meta.map_meta, "fields of type map have it"
    key_kind, value_kind = _SCALARS[meta.map_meta[0].proto_type], _kind(meta.map_meta[1], value_type)
    _, key_loads = _single("key", meta.map_meta[0], key_kind, ())
    _, value_loads = _single("value", meta.map_meta[1], value_kind, ())
    loads = {**key_loads, **value_loads}
    tag = meta.number << 3 | _LENGTH
    prefix = _varint(tag)
    key_prefix, value_prefix = _varint(1 << 3 | key_kind.wire_type), _varint(2 << 3 | value_kind.wire_type)

    def write(value: dict[Any, Any]) -> bytes:
        entries = (
            key_prefix + key_kind.write(key) + value_prefix + value_kind.write(item)
            for key, item in value.items()
        )
        return b"".join([prefix + _prefixed(entry) for entry in entries])

    def load(values: dict[str, Any], data: bytes, position: int) -> int:
        encoded, end = _slice(data, position)
        entry: dict[str, Any] = {"key": key_kind.zero(), "value": None, "_unknown_fields": b""}
        _load(loads, entry, encoded)
        values[name][entry["key"]] = value_kind.zero() if entry["value"] is None else entry["value"]
        return end

    return write, {tag: load}


def _skip(tag: int, data: bytes, position: int) -> int:
    """The position after a field that the class lacks. Raises ValueError for a tag that can't be."""
    number, wire_type = tag >> 3, tag & 7
    if number == 0:
        raise ValueError("a field has the number 0")
    if wire_type == _VARINT:
        return _read_varint(data, position)[1]
    if wire_type == _LENGTH:
        return _slice(data, position)[1]
    if wire_type not in (_FIXED_32, _FIXED_64):
        raise ValueError(f"field {number} has wire type {wire_type}, which proto3 lacks")
    end = position + (4 if wire_type == _FIXED_32 else 8)
    if end > len(data):
        raise IndexError(end)
    return end
