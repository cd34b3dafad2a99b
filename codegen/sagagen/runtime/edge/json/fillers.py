"""Messages from JSON that has the shape of them: functions for each message type, made when a route is.

google.protobuf's ParseDict asks of every message anew what its fields are, and writes a path for each value in case it
is wrong. Here the value was held against its shape already. ParseDict still reads Struct, Value, ListValue and Any, and
a property test holds the two together.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from sagagen.runtime.edge.json.scalars import converter, key_converter
from sagagen.runtime.edge.json.texts import PARSERS, Parse
from sagagen.runtime.edge.json.texts import fill as fill_textual
from sagagen.runtime.edge.json.validators import WRAPPER, takes_null
from sagagen.runtime.messages.fields import entry_fields, is_map

Fill: TypeAlias = Callable[[Any, Any], None]
"""Gives a message, or one field of it, what a JSON value says."""

_FREE = frozenset(f"google.protobuf.{name}" for name in ("Struct", "Value", "ListValue", "Any"))


class JsonFillers:
    """Makes the functions; those of messages are kept by name, since a message may contain itself."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool
        self._messages: dict[str, Fill] = {}

    def message(self, descriptor: Descriptor) -> Fill:
        name = descriptor.full_name
        if name not in self._messages:
            self._messages[name] = self._well_known(descriptor) or self._regular(descriptor)
        return self._messages[name]

    def _well_known(self, descriptor: Descriptor) -> Fill | None:
        name = descriptor.full_name
        if name in _FREE:
            return self._fill_free
        if name in PARSERS:
            return _textual(PARSERS[name])
        return self._field(descriptor.fields_by_name["value"]) if WRAPPER.fullmatch(name) else None

    def _fill_free(self, message: Message, value: Any) -> None:
        json_format.ParseDict(value, message, descriptor_pool=self._pool)

    def _regular(self, descriptor: Descriptor) -> Fill:
        members: dict[str, Fill] = {}

        def fill(message: Any, value: dict[str, Any]) -> None:
            for name, item in value.items():
                members[name](message, item)

        self._messages[descriptor.full_name] = fill
        for field in descriptor.fields:
            put = self._field(field)
            put = put if takes_null(field) else _unless_null(put)
            members[field.name] = members[field.json_name] = put
        return fill

    def _field(self, field: FieldDescriptor) -> Fill:
        if is_map(field):
            return self._map(field)
        if field.message_type:
            fill = self.message(field.message_type)
            return _messages(field.name, fill) if field.is_repeated else _nested(field.name, fill)
        convert = converter(field)
        name = field.name
        if field.is_repeated:
            return lambda message, value: getattr(message, name).extend(map(convert, value))
        return lambda message, value: setattr(message, name, convert(value))

    def _map(self, field: FieldDescriptor) -> Fill:
        key_field, value_field = entry_fields(field)
        key, name = key_converter(key_field), field.name
        if value_field.message_type:
            return _message_entries(name, key, self.message(value_field.message_type))
        convert = converter(value_field)

        def put(message: Any, value: dict[str, Any]) -> None:
            entries = getattr(message, name)
            for each, item in value.items():
                entries[key(each)] = convert(item)

        return put


def _unless_null(put: Fill) -> Fill:
    def put_unless_null(message: Any, value: Any) -> None:
        if value is not None:
            put(message, value)

    return put_unless_null


def _textual(parse: Parse) -> Fill:
    def fill(message: Any, value: str) -> None:
        parsed = parse(value)
        assert parsed is not None, "its check has read it too"
        fill_textual(message, parsed)

    return fill


def _nested(name: str, fill: Fill) -> Fill:
    def put(message: Any, value: Any) -> None:
        nested = getattr(message, name)
        nested.SetInParent()
        fill(nested, value)

    return put


def _messages(name: str, fill: Fill) -> Fill:
    def put(message: Any, value: list[Any]) -> None:
        add = getattr(message, name).add
        for item in value:
            fill(add(), item)

    return put


def _message_entries(name: str, key: Callable[[str], Any], fill: Fill) -> Fill:
    def put(message: Any, value: dict[str, Any]) -> None:
        entries = getattr(message, name)
        for each, item in value.items():
            fill(entries[key(each)], item)

    return put
