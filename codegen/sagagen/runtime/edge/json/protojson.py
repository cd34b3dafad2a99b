"""ProtoJSON in and out.

In: `validators` name the place of every mistake, then `fillers` make the message. Out: `encoders`.
"""

import json
from typing import cast

from google.protobuf import json_format
from google.protobuf import message as protobuf
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from sagagen.runtime.edge.json.encoders import JsonEncoders, Plain
from sagagen.runtime.edge.json.fillers import JsonFillers
from sagagen.runtime.edge.json.findings import RULE, EnoughFound, Findings, JsonError
from sagagen.runtime.edge.json.validators import JsonValidators, strict_object
from sagagen.runtime.rpc.errors import FieldViolation

LONG_BYTES = 256 * 1024
"""Beyond it JSON is read so that other threads get their turns."""


def _whole(digits: str) -> int | float:
    """An integer of Python's has no zero with a sign, so that is read as a float."""
    return -0.0 if digits == "-0" else int(digits)


def _fraction(digits: str) -> float:
    return float(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=strict_object)
_SIGNED_DECODER = json.JSONDecoder(object_pairs_hook=strict_object, parse_int=_whole)
_YIELDING_DECODER = json.JSONDecoder(object_pairs_hook=strict_object, parse_int=_whole, parse_float=_fraction)
"""The others keep Python's lock until all is read; between two lines of Python it can be taken."""
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


_UNREADABLE = (ValueError, TypeError, OverflowError, LookupError, AttributeError)
"""What google.protobuf raises, beside its own errors, for an Any that is none: without a type, or of an unknown one."""


class JsonReader:
    """Reads one type of message. Made once for each route."""

    def __init__(self, descriptor: Descriptor, pool: DescriptorPool) -> None:
        self._check = JsonValidators().message(descriptor)
        self._put = JsonFillers(pool).message(descriptor)

    def read(self, data: bytes, message: Message, field: str = "") -> object:
        """Fill `message`, or its one field, from JSON, which is returned as json.loads has it.

        No data at all is an empty object. Raises JsonError.
        """
        if not data.strip():
            return {}
        try:
            value = _load(data)
            self._fill(message, {field: value} if field else value)
        except RecursionError as error:
            raise _broken("the JSON is nested too deeply") from error
        return value

    def _fill(self, message: Message, value: object) -> None:
        findings = Findings()
        try:
            self._check(value, None, findings)
        except EnoughFound as error:
            raise JsonError(findings.violations) from error
        if findings.violations:
            raise JsonError(findings.violations)
        try:
            self._put(message, value)
        except (*_UNREADABLE, json_format.Error, protobuf.Error) as error:
            raise _broken(f"an Any or a Struct can't be read: {error}") from error


class AnswerNotWritten(ValueError):
    """A message that JSON can't express, or bytes that are no such message."""


_NOT_WRITTEN = (*_UNREADABLE, json_format.Error, protobuf.Error)
"""What google.protobuf raises for a FieldMask that has no lowerCamelCase form, or an Any of a type it does not know."""


class JsonWriter:
    """Writes one type of message, or one field of it, with proto names and fields without presence always printed."""

    def __init__(self, message_type: type[Message], field: str = "") -> None:
        self._parsed = message_type.FromString
        descriptor = cast(Descriptor, message_type.DESCRIPTOR)
        self._plain = _of_field(message_type, field) if field else JsonEncoders().message(descriptor)

    def write(self, data: bytes) -> bytes:
        """The JSON of an encoded message. Raises AnswerNotWritten."""
        try:
            return _ENCODER.encode(self._plain(self._parsed(data))).encode()
        except _NOT_WRITTEN as error:
            raise AnswerNotWritten(str(error)) from error


def _of_field(message_type: type[Message], name: str) -> Plain:
    """Of a message its one field. A message that is not set reads as its default, a scalar as null."""
    field = cast(FieldDescriptor, message_type.DESCRIPTOR.fields_by_name[name])
    plain = JsonEncoders().field(field)
    if field.has_presence and not field.message_type:
        has = message_type.HasField
        return lambda message: plain(getattr(message, name)) if has(message, name) else None
    return lambda message: plain(getattr(message, name))


def _load(data: bytes) -> object:
    try:
        return cast(object, _decoder(data).decode(data.decode()))
    except UnicodeDecodeError as error:
        raise _broken("the body is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise _broken(
            f"the body is no JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from error
    except ValueError as error:
        # int() refuses thousands of digits, since converting them takes quadratic time.
        raise _broken("the body is no JSON that can be read: a number has too many digits") from error


def _decoder(data: bytes) -> json.JSONDecoder:
    if len(data) > LONG_BYTES:
        return _YIELDING_DECODER
    return _SIGNED_DECODER if b"-0" in data else _DECODER


def _broken(description: str) -> JsonError:
    return JsonError([FieldViolation("", description, RULE)])
