"""Fields of a request by name, as path templates and queries call them."""

import re
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from sagagen.runtime.edge.json.texts import TEXTUAL
from sagagen.runtime.edge.json.validators import WRAPPER
from sagagen.runtime.messages.fields import entry_fields, is_map

_ENTRY = re.compile(r"(.+)\[([^\[\]]*)\]")


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A field, or an entry of a map field, and the messages that lead to it."""

    fields: tuple[FieldDescriptor, ...]
    key: str | None = None
    """Of the map's entry: `labels[red]`."""

    @property
    def last(self) -> FieldDescriptor:
        return self.fields[-1]

    @property
    def is_map(self) -> bool:
        return is_map(self.last)

    @property
    def is_text(self) -> bool:
        """Whether its value, or each of its values, can be written as one text."""
        target = entry_fields(self.last)[1] if self.is_map else self.last
        return is_textual(target) and self.is_map == (self.key is not None)

    def __str__(self) -> str:
        path = ".".join(field.name for field in self.fields)
        return path if self.key is None else f"{path}[{self.key}]"


def is_textual(field: FieldDescriptor) -> bool:
    """Whether one value of it can be written as text; most messages can't."""
    message = field.message_type
    return not message or message.full_name in TEXTUAL or WRAPPER.fullmatch(message.full_name) is not None


def find_field(descriptor: Descriptor, name: str) -> FieldPath | None:
    """The field of a dotted name, each part spelled as in the proto or as in JSON; None if there is none."""
    entry = _ENTRY.fullmatch(name)
    fields: list[FieldDescriptor] = []
    at: Descriptor | None = descriptor
    for part in (entry[1] if entry else name).split("."):
        field = _field(at, part) if at else None
        if not field:
            return None
        fields.append(field)
        at = None if field.is_repeated else field.message_type
    path = FieldPath(tuple(fields), entry[2] if entry else None)
    return path if path.is_map or not entry else None


def _field(descriptor: Descriptor, name: str) -> FieldDescriptor | None:
    by_name = descriptor.fields_by_name.get(name)
    return by_name or next((field for field in descriptor.fields if field.json_name == name), None)
