"""How much a request may hold beyond its bytes: messages, and messages in one another.

A message costs two bytes on the wire, and hundreds once it is an object with attributes. So messages are counted before
they are made, wherever a request enters: at the edge while JSON is walked, at a service before it is decoded.
"""

from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from sagagen.runtime.messages.fields import entry_fields, is_map

MAX_PARTS = 10_000
"""Messages and entries of maps in one request, itself included; a value in a Struct is a message too."""
TOO_MANY_PARTS = f"the request holds more than {MAX_PARTS} messages, entries of maps and values in a Struct"
MAX_DEPTH = 100
"""Messages in one another. No decoder of protobuf takes more."""
_SMALLEST_BYTES = 2
"""Tag and length of an empty message."""


def may_have_too_many_parts(encoded_bytes: int) -> bool:
    """False for whatever is so short that it needs no counting."""
    return encoded_bytes > MAX_PARTS * _SMALLEST_BYTES


def has_too_many_parts(message: Message) -> bool:
    """Count, but no further than needed."""
    pending, count = [message], 1
    while pending and count <= MAX_PARTS:
        for field, value in pending.pop().ListFields():
            if field.message_type:
                count += len(value) if field.is_repeated else 1
                if count > MAX_PARTS:
                    break
                pending += _messages(field, value)
    return count > MAX_PARTS


def _messages(field: FieldDescriptor, value: Any) -> Sequence[Message]:
    """The messages of a field: none, one, those of a list, or those of a map's entries."""
    if not field.message_type:
        return ()
    if not field.is_repeated:
        return (value,)
    if not is_map(field):
        return value
    return list(value.values()) if entry_fields(field)[1].message_type else ()


def beginning(message: Message, limit: int) -> tuple[Message, Sequence[str]]:
    """A copy with no more than `limit` elements in all of its lists and maps, and the paths of those that lost some.

    The paths are as `schema.field_path` writes them.
    """
    copy = type(message)()
    copy.CopyFrom(message)
    shortener = _Shortener(limit)
    shortener.shorten(copy, "")
    return copy, shortener.shortened


class _Shortener:
    def __init__(self, left: int) -> None:
        self._left = left
        self.shortened: list[str] = []

    def shorten(self, message: Message, path: str) -> None:
        for field, value in message.ListFields():
            where = f"{path}.{field.name}" if path else field.name
            for subscript, nested in self._kept(field, value, where):
                self.shorten(nested, where + subscript)

    def _kept(self, field: FieldDescriptor, value: Any, where: str) -> "list[tuple[str, Message]]":
        """The messages that stay, each with its subscript."""
        if not field.is_repeated:
            return [("", value)] if field.message_type else []
        if len(value) > self._left:
            self.shortened.append(where)
        keys = list(value)[: self._left] if is_map(field) else range(min(len(value), self._left))
        if is_map(field):
            for key in list(value)[self._left :]:
                del value[key]
        else:
            del value[self._left :]
        self._left -= len(keys)
        if not _messages(field, value):
            return []
        return [(f"[{key!r}]" if isinstance(key, str) else f"[{key}]", value[key]) for key in keys]


def is_within(path: str, shortened: str) -> bool:
    """Whether a finding at `path` may come of what the list at `shortened` lost: it is about it, or what holds it."""
    return path == "" or shortened == path or shortened.startswith((f"{path}.", f"{path}["))
