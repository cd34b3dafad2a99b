"""The base of every emitted message: betterproto2's typed class, with google.protobuf on the wire.

betterproto2 describes each field anew for every message that it writes or reads. Here a class is described once, as a
message type of google.protobuf (C code), and the values are moved between the two, field by field.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self, cast

import betterproto2
from betterproto2 import FieldMetadata
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from sagagen.runtime.wire_types import ENUM, MAP, MESSAGE, classes, described, has_presence, native_type

REDACTED = "[redacted]"


class Message(betterproto2.Message):
    """A message of the contract. `bytes(message)` and `Class.parse(data)` are its way to the wire and back."""

    __redacted__: ClassVar[frozenset[str]] = frozenset()
    """Attributes whose values are not shown, since the contract says `debug_redact`."""

    def __repr__(self) -> str:
        """For people: what differs from the defaults, and nothing that the contract redacts."""
        shown = [
            f"{name}={REDACTED if name in self.__redacted__ else repr(value)}"
            for name, value in vars(self).items()
            if name != "_unknown_fields" and value != self._get_field_default(name)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __bytes__(self) -> bytes:
        """The encoded message, entries of maps sorted by key.

        Raises TypeError or ValueError, with class and field, for a value that its field can't hold.
        """
        return codec(type(self)).write(self)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The message that `data` encodes; what it does not know is kept. Raises ValueError if `data` encodes none."""
        return codec(cls).read(data)


class MessagePool(betterproto2.MessagePool):
    """All message classes of a contract by their names in it."""

    def __init__(
        self,
        *,
        renamed: Mapping[tuple[str, str], tuple[str, str]] = MappingProxyType({}),
        redacted: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        """`renamed`: (package, name) of classes that are called otherwise in Python, and what the contract calls them.

        `redacted`: full names in the contract, and those of their attributes whose values are not shown.
        """
        super().__init__()
        self._renamed = renamed
        self._redacted = redacted

    def register_message(
        self, package_name: str, message_name: str, message_type: type[betterproto2.Message]
    ) -> None:
        package, name = self._renamed.get((package_name, message_name), (package_name, message_name))
        super().register_message(package, name, message_type)
        if issubclass(message_type, Message):
            message_type.__redacted__ = frozenset(self._redacted.get(f"{package}.{name}".lstrip("."), ()))


Native = Any
"""A message of google.protobuf, of a type that is made here: its fields are called f1, f2 ... by their numbers."""


class _Wrapper(Protocol):
    """A well-known type that stands for a Python value, datetime or timedelta for example."""

    @classmethod
    def from_wrapped(cls, wrapped: Any) -> betterproto2.Message: ...

    def to_wrapped(self) -> Any: ...


class Codec:
    """Moves the values of one message class to google.protobuf and back. Made once for each class, by `codec`."""

    def __init__(self, message_class: type[betterproto2.Message]) -> None:
        self._class = message_class
        self._root: type[Native] | None = None
        fields = [_Field(message_class, name, meta) for name, meta in described(message_class).items()]
        self._plain = tuple((each.name, each.key) for each in fields if each.is_plain)
        self._special = tuple(
            (each.name, each.putter(), each.getter()) for each in fields if not each.is_plain
        )

    def write(self, message: betterproto2.Message) -> bytes:
        native = self._native_type()()
        self.fill(native, message)
        return cast(bytes, native.SerializeToString(deterministic=True))

    def read(self, data: bytes) -> Any:
        try:
            native = self._native_type().FromString(data)
        except DecodeError as error:
            raise ValueError(f"{len(data)} bytes are no encoded {self._class.__name__}") from error
        return self.made_of(native)

    def fill(self, native: Native, message: betterproto2.Message) -> None:
        """Give `native` the values of `message`. Raises TypeError or ValueError with class and field."""
        name = ""
        values = message.__dict__
        try:
            for name, key in self._plain:
                # A value that its field has anyway is not written.
                if value := values[name]:
                    setattr(native, key, value)
            for name, put, _ in self._special:
                if (value := values[name]) is not None:
                    put(native, value)
        except (TypeError, ValueError) as error:
            raise _placed(error, f"{self._class.__name__}.{name}") from error
        if unknown := values["_unknown_fields"]:
            native.MergeFromString(unknown)

    def made_of(self, native: Native) -> Any:
        """A message with the values of `native`. Its class's __init__ would only repeat the defaults."""
        values: dict[str, object] = {name: getattr(native, key) for name, key in self._plain}
        for name, _, get in self._special:
            values[name] = get(native)
        values["_unknown_fields"] = _unknown(native) if len(UnknownFieldSet(native)) else b""
        message = object.__new__(self._class)
        vars(message).update(values)
        return message

    def _native_type(self) -> type[Native]:
        if self._root is None:
            self._root = native_type(self._class)
        return self._root


@cache
def codec(message_class: type[betterproto2.Message]) -> Codec:
    """The one codec of a class. A class is described when it is first asked for: ask at start, not in a request."""
    return Codec(message_class)


class _Field:
    """How one field's values are moved."""

    def __init__(self, message_class: type[betterproto2.Message], name: str, meta: FieldMetadata) -> None:
        self.name = name
        self.key = f"f{meta.number}"
        self.meta = meta
        self._class = message_class

    @property
    def is_plain(self) -> bool:
        """A single value that google.protobuf holds as it is, with a default instead of presence."""
        return self.meta.proto_type not in {MAP, MESSAGE, ENUM} and not (
            self.meta.repeated or has_presence(self.meta)
        )

    def putter(self) -> Callable[[Native, Any], None]:
        if self.meta.map_meta:
            return self._put_map(self.meta.map_meta[1])
        fill = self._filler(self.meta)
        return self._put_all(fill) if self.meta.repeated else self._put_one(fill)

    def getter(self) -> Callable[[Native], Any]:
        key = self.key
        if self.meta.map_meta:
            make_value = self._maker(self.meta.map_meta[1])
            return lambda native: {k: make_value(v) for k, v in getattr(native, key).items()}
        make = self._maker(self.meta)
        if self.meta.repeated:
            return lambda native: [make(each) for each in getattr(native, key)]
        if has_presence(self.meta):
            return lambda native: make(getattr(native, key)) if native.HasField(key) else None
        return lambda native: make(getattr(native, key))

    def _put_one(self, fill: "_Fill | None") -> Callable[[Native, Any], None]:
        key = self.key
        if fill is None:
            return lambda native, value: setattr(native, key, value)

        def put(native: Native, value: Any) -> None:
            nested = getattr(native, key)
            nested.SetInParent()
            fill(nested, value)

        return put

    def _put_all(self, fill: "_Fill | None") -> Callable[[Native, Any], None]:
        key = self.key
        if fill is None:
            return lambda native, value: getattr(native, key).extend(value)

        def put(native: Native, value: Any) -> None:
            add = getattr(native, key).add
            for each in value:
                fill(add(), each)

        return put

    def _put_map(self, meta: FieldMetadata) -> Callable[[Native, Any], None]:
        key, fill = self.key, self._filler(meta)
        if fill is None:
            return lambda native, value: getattr(native, key).update(value)

        def put(native: Native, value: Any) -> None:
            entries = getattr(native, key)
            for k, v in value.items():
                fill(entries[k], v)

        return put

    def _filler(self, meta: FieldMetadata) -> "_Fill | None":
        """Fills a nested message; None for a value that google.protobuf takes as it is."""
        if meta.proto_type != MESSAGE:
            return None
        if meta.unwrap:
            wrapper = cast(type[_Wrapper], meta.unwrap())
            if wrapper.__name__ == _TIMESTAMP:
                return _fill_timestamp
            fill = codec(cast(type[betterproto2.Message], wrapper)).fill
            return lambda native, value: fill(native, wrapper.from_wrapped(value))
        nested = self._value_class()
        # Asked for when first needed: a message may hold messages of its own type.
        return lambda native, value: codec(nested).fill(native, _instance(value, nested))

    def _maker(self, meta: FieldMetadata) -> Callable[[Any], Any]:
        """What a value of google.protobuf's becomes."""
        if meta.proto_type == ENUM:
            return _enum_maker(self._value_class())
        if meta.proto_type != MESSAGE:
            return _as_it_is
        if meta.unwrap:
            wrapper = meta.unwrap()
            if wrapper.__name__ == _TIMESTAMP:
                return _datetime_of
            made = codec(cast(type[betterproto2.Message], wrapper)).made_of
            return lambda native: made(native).to_wrapped()
        nested = self._value_class()
        return lambda native: codec(nested).made_of(native)

    def _value_class(self) -> type[Any]:
        return classes(self._class)[f"{self.name}.value" if self.meta.map_meta else self.name]


_Fill = Callable[[Native, Any], None]


_TIMESTAMP = "Timestamp"
"""Only well-known types stand for Python values, so the name says it all. This one is in nearly every message; by way
of its class it would take five times as long."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S = 24 * 60 * 60


def _fill_timestamp(native: Native, value: Any) -> None:
    if not isinstance(value, datetime):
        raise TypeError(f"datetime expected, got {type(value).__name__}")
    if value.tzinfo is None:
        raise ValueError("the datetime needs a time zone")
    since = value - _EPOCH
    native.f1 = since.days * _DAY_S + since.seconds
    native.f2 = since.microseconds * 1000


def _datetime_of(native: Native) -> datetime:
    return _EPOCH + timedelta(seconds=native.f1, microseconds=native.f2 // 1000)


def _as_it_is(value: Any) -> Any:
    return value


def _instance(value: Any, message_class: type[betterproto2.Message]) -> betterproto2.Message:
    if not isinstance(value, message_class):
        raise TypeError(f"{message_class.__name__} expected, got {type(value).__name__}")
    return value


def _enum_maker(enum: type[betterproto2.Enum]) -> Callable[[int], betterproto2.Enum]:
    members = {int(member): member for member in enum}

    def make(number: int) -> betterproto2.Enum:
        # A number that this enum has no name for is one of a newer contract: it is kept.
        return members[number] if number in members else enum(number)

    return make


def _placed(error: Exception, place: str) -> Exception:
    text = str(error)
    return type(error)(text if isinstance(error.__cause__, type(error)) else f"{place}: {text}")


def _unknown(native: Native) -> bytes:
    """The fields of a message, without those in it, that its class does not know; as they came."""
    rest = type(native)()
    rest.CopyFrom(native)
    for field in native.DESCRIPTOR.fields:
        rest.ClearField(field.name)
    return cast(bytes, rest.SerializePartialToString())
