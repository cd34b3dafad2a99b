"""ProtoJSON in and out: google.protobuf converts, `json_shape` makes it strict and names the place of every mistake."""

import json
from typing import cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from sagagen.runtime.edge.json_scalars import RULE, Findings
from sagagen.runtime.edge.json_shape import Shapes, strict_object
from sagagen.runtime.errors import FieldViolation


class JsonError(ValueError):
    """JSON that is none, or does not fit the message."""

    def __init__(self, violations: Findings) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = tuple(violations)


class JsonReader:
    """Reads one type of message. Made once for each route."""

    def __init__(self, descriptor: Descriptor, pool: DescriptorPool) -> None:
        self._pool = pool
        self._check = Shapes().message(descriptor)

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
        self._type = message_type
        self._field = field
        described = message_type.DESCRIPTOR.fields_by_name[field] if field else None
        self._is_nested = bool(described and described.message_type and not described.is_repeated)

    def write(self, data: bytes) -> bytes:
        """The JSON of an encoded message. Raises google.protobuf's DecodeError for bytes that are none."""
        message = self._type.FromString(data)
        return json.dumps(self._value(message), ensure_ascii=False, separators=(",", ":")).encode()

    def _value(self, message: Message) -> object:
        if self._is_nested:
            return _plain(getattr(message, self._field))
        return _plain(message).get(self._field) if self._field else _plain(message)


def _plain(message: Message) -> dict[str, object]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


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
