"""Fields of a request that come as text: from the path and from the query."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from sagagen.runtime.edge.json.scalars import INTEGER_RANGES, decode_base64
from sagagen.runtime.edge.json.texts import PARSERS, TEXTUAL, Parse, fill, parse_any_mask
from sagagen.runtime.edge.json.validators import NOT_SHOWN, is_redacted
from sagagen.runtime.edge.paths.fields import FieldPath, is_textual
from sagagen.runtime.messages.fields import entry_fields

_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?|[+-]?Infinity|NaN")
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class TextError(ValueError):
    """A text that is no value of its field; says what would be."""


Convert = Callable[[str], object]
"""From text to the value of a scalar field. Raises TextError."""


def put(message: Message, path: FieldPath, texts: Sequence[str], *, is_final: bool = False) -> None:
    """Set the field of a message from text.

    `is_final`: the field may already be set, but only to the same value. Raises TextError.
    """
    target = cast(Any, _descend(message, path))
    try:
        _put(target, path, texts, is_final=is_final)
    except TextError as error:
        if any(is_redacted(field) for field in path.fields):
            raise TextError(NOT_SHOWN) from None
        raise error


def _put(target: Any, path: FieldPath, texts: Sequence[str], *, is_final: bool) -> None:
    field = path.last
    if path.key is not None:
        _put_entry(target, field, path.key, texts)
    elif field.is_repeated:
        _put_all(getattr(target, field.name), field, texts)
    else:
        _put_one(target, field, texts, is_final=is_final)


def _descend(message: Message, path: FieldPath) -> Message:
    """The message that holds the last field; refuses a second member of a oneof on the way."""
    for field in path.fields[:-1]:
        _check_oneof(message, field)
        message = getattr(message, field.name)
        message.SetInParent()
    _check_oneof(message, path.last)
    return message


def _check_oneof(message: Message, field: FieldDescriptor) -> None:
    oneof = field.containing_oneof
    other = message.WhichOneof(oneof.name) if oneof else None
    if oneof and other and other != field.name:
        raise TextError(f"excludes {other}: at most one field of {oneof.name} can be set")


def _put_one(target: Any, field: FieldDescriptor, texts: Sequence[str], *, is_final: bool) -> None:
    if len(texts) != 1:
        raise TextError("is given more than once, but is no list")
    value = _converted(field, texts[0])
    before = getattr(target, field.name)
    is_set = target.HasField(field.name) if field.has_presence else before != field.default_value
    if is_final and is_set and before != value:
        raise TextError("differs from the value in the path")
    if isinstance(value, Message):
        before.CopyFrom(value)
    else:
        setattr(target, field.name, value)


def _put_all(target: Any, field: FieldDescriptor, texts: Sequence[str]) -> None:
    values = [_converted(field, text) for text in texts]
    target.extend(values)


def _put_entry(target: Any, field: FieldDescriptor, key: str, texts: Sequence[str]) -> None:
    if len(texts) != 1:
        raise TextError("is given more than once, but is one entry of a map")
    key_field, value_field = entry_fields(field)
    entries = getattr(target, field.name)
    value = _converted(value_field, texts[0])
    if isinstance(value, Message):
        entries[_converted(key_field, key)].CopyFrom(value)
    else:
        entries[_converted(key_field, key)] = value


def _converted(field: FieldDescriptor, text: str) -> object:
    convert = converter(field)
    if convert is None:
        raise TextError("is a message and can't be written as text")
    return convert(text)


def converter(field: FieldDescriptor) -> Convert | None:
    """Reads one value of a field; None for messages that no text stands for."""
    if not is_textual(field):
        return None
    if field.message_type:
        return _message_converter(field.message_type)
    if field.enum_type:
        return _enum(field.enum_type)
    return _SCALARS[field.cpp_type] if field.type != FieldDescriptor.TYPE_BYTES else _bytes


def _message_converter(descriptor: Descriptor) -> Convert:
    message_type = message_factory.GetMessageClass(descriptor)
    if descriptor.full_name in TEXTUAL:
        is_mask = descriptor.full_name == "google.protobuf.FieldMask"
        return _textual(message_type, parse_any_mask if is_mask else PARSERS[descriptor.full_name])
    inner = converter(descriptor.fields_by_name["value"])
    assert inner is not None, "wrappers wrap scalars"
    return lambda text: message_type(value=inner(text))


def _textual(message_type: type[Message], parse: Parse) -> Convert:
    def convert(text: str) -> Message:
        parsed = parse(text)
        if parsed is None:
            raise TextError(f"must be a {message_type.DESCRIPTOR.full_name}, not {shown(text)}")
        message = message_type()
        fill(message, parsed)
        return message

    return convert


def _enum(enum: EnumDescriptor) -> Convert:
    def convert(text: str) -> int:
        if value := enum.values_by_name.get(text):
            return value.number
        if _WHOLE.fullmatch(text) and (value := enum.values_by_number.get(int(text))):
            return value.number
        raise TextError(f"must be a value of {enum.full_name}, not {shown(text)}")

    return convert


def _integer(low: int, high: int) -> Convert:
    def convert(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise TextError(f"must be a whole number, not {shown(text)}")
        if not low <= (number := int(text)) <= high:
            raise TextError(f"must be from {low} to {high}, not {shown(text)}")
        return number

    return convert


def _float(limit: float) -> Convert:
    def convert(text: str) -> float:
        if not _FLOAT.fullmatch(text):
            raise TextError(f"must be a number, not {shown(text)}")
        number = float(text)
        if "Inf" not in text and abs(number) > limit and not math.isnan(number):
            raise TextError("is larger than the field can hold")
        return number

    return convert


def _bool(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise TextError(f"must be true or false, not {shown(text)}")
    return text in _TRUE


def _bytes(text: str) -> bytes:
    data = decode_base64(text)
    if data is None:
        raise TextError(f"must be base64, not {shown(text)}")
    return data


def shown(text: str) -> str:
    """A text of the client's, short enough for a message."""
    return f'"{text}"' if len(text) <= 60 else f'"{text[:57]}..."'


_SCALARS: Mapping[int, Convert] = {
    FieldDescriptor.CPPTYPE_STRING: str,
    FieldDescriptor.CPPTYPE_BOOL: _bool,
    FieldDescriptor.CPPTYPE_DOUBLE: _float(1.7976931348623157e308),
    FieldDescriptor.CPPTYPE_FLOAT: _float(3.4028234663852886e38),
    **{cpp_type: _integer(*limits) for cpp_type, limits in INTEGER_RANGES.items()},
}
