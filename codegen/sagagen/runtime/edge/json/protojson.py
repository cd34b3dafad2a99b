"""ProtoJSON in and out.

In: google.protobuf converts, `json_shape` makes it strict and names the place of every mistake. Out: `json_plain`.
"""

import json
from typing import cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from sagagen.runtime.edge.json.encoders import JsonEncoders, Plain
from sagagen.runtime.edge.json.scalars import RULE, Findings
from sagagen.runtime.edge.json.validators import JsonValidators, strict_object
from sagagen.runtime.rpc.errors import FieldViolation

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class JsonError(ValueError):
    """JSON that is none, or does not fit the message."""

    def __init__(self, violations: Findings) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = tuple(violations)


class JsonReader:
    """Reads one type of message. Made once for each route."""

    def __init__(self, descriptor: Descriptor, pool: DescriptorPool) -> None:
        self._pool = pool
        self._check = JsonValidators().message(descriptor)

    def read(self, data: bytes, message: Message, field: str = "") -> None:
        """Fill `message`, or its one field, from JSON. No data at all is an empty object. Raises JsonError."""
        if not data.strip():
            return
        try:
            self._fill(message, {field: _load(data)} if field else _load(data))
        except RecursionError as error:
            raise _broken("the JSON is nested too deeply") from error

    def _fill(self, message: Message, value: object) -> None:
        findings: Findings = []
        self._check(value, "", findings)
        if findings:
            raise JsonError(findings)
        try:
            json_format.ParseDict(cast(dict[str, object], value), message, descriptor_pool=self._pool)
        except (ValueError, TypeError, OverflowError, json_format.Error) as error:
            raise _broken(str(error)) from error


class JsonWriter:
    """Writes one type of message, or one field of it, with proto names and fields without presence always printed."""

    def __init__(self, message_type: type[Message], field: str = "") -> None:
        self._parsed = message_type.FromString
        descriptor = cast(Descriptor, message_type.DESCRIPTOR)
        self._plain = _of_field(message_type, field) if field else JsonEncoders().message(descriptor)

    def write(self, data: bytes) -> bytes:
        """The JSON of an encoded message. Raises google.protobuf's DecodeError for bytes that are none."""
        return _ENCODER.encode(self._plain(self._parsed(data))).encode()


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
        return cast(object, json.loads(data.decode(), object_pairs_hook=strict_object))
    except UnicodeDecodeError as error:
        raise _broken("the body is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise _broken(
            f"the body is no JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from error
    except ValueError as error:
        # int() refuses thousands of digits, since converting them takes quadratic time.
        raise _broken("the body is no JSON that can be read: a number has too many digits") from error


def _broken(description: str) -> JsonError:
    return JsonError([FieldViolation("", description, RULE)])
