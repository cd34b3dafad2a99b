"""The base of every emitted message: betterproto2's typed class, with google.protobuf on the wire.

betterproto2 describes each field anew for every message that it writes or reads. Here a class is described once, as a
message type of google.protobuf (C code), and the values are moved between the two, field by field.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from math import copysign
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self, cast

import betterproto2
from betterproto2 import FieldMetadata
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from sagagen.runtime.messages.exact_times import duration, duration_parts, timestamp, timestamp_parts
from sagagen.runtime.messages.wire_types import (
    ENUM,
    MESSAGE,
    classes,
    defaults,
    described,
    has_presence,
    native_type,
)

REDACTED = "[redacted]"


class Message(betterproto2.Message):
    """A message of the contract. `bytes(message)` and `Class.parse(data)` are its way to the wire and back."""

    __redacted__: ClassVar[frozenset[str]] = frozenset()
    """Attributes whose values are not shown, since the contract says `debug_redact`."""

    def __repr__(self) -> str:
        """For people: what differs from the defaults, and nothing that the contract redacts."""
        values = vars(self)
        shown = [
            f"{name}={REDACTED if name in self.__redacted__ else repr(values[name])}"
            for name, default in defaults(type(self)).items()
            if values[name] != default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __bool__(self) -> bool:
        """True if a field differs from its default."""
        values = vars(self)
        return any(values[name] != default for name, default in defaults(type(self)).items())

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

    fill: Callable[[Native, betterproto2.Message], None]
    """Give a message of google.protobuf the values of another. Raises TypeError or ValueError with class and field."""
    made_of: Callable[[Native], Any]
    """A message with the values of google.protobuf's. Its class's __init__ would only repeat the defaults."""

    def __init__(self, message_class: type[betterproto2.Message]) -> None:
        self._class = message_class
        fields = [_Field(message_class, name, meta) for name, meta in described(message_class).items()]
        self.fill, self.made_of = _functions(message_class, fields)

    def write(self, message: betterproto2.Message) -> bytes:
        native = self._native()
        self.fill(native, message)
        return cast(bytes, native.SerializeToString(deterministic=True))

    def read(self, data: bytes) -> Any:
        try:
            native = self._parsed(data)
        except DecodeError as error:
            raise ValueError(f"{len(data)} bytes are no encoded {self._class.__name__}") from error
        return self.made_of(native)

    # Described when first needed: a message may hold messages of its own type.

    @cached_property
    def _native(self) -> type[Native]:
        return native_type(self._class)

    @cached_property
    def _parsed(self) -> Callable[[bytes], Native]:
        return self._native.FromString


@cache
def codec(message_class: type[betterproto2.Message]) -> Codec:
    """The one codec of a class. A class is described when it is first asked for: ask at start, not in a request."""
    return Codec(message_class)


def _functions(message_class: type[betterproto2.Message], fields: "Sequence[_Field]") -> tuple[Any, Any]:
    """A codec's `fill` and `made_of`, with lines of their own for each field, as dataclasses make their __init__.

    Loops over the fields would take half as long again, and messages are a twelfth of what a saga costs.
    """
    names: dict[str, Any] = {
        "cls": message_class,
        "new": object.__new__,
        "placed": _placed,
        "unknown": _unknown,
        "UnknownFieldSet": UnknownFieldSet,
        "copysign": copysign,
    }
    for field in fields:
        names |= {f"fill_{field.key}": field.fill, f"make_{field.key}": field.make}
    lines = [
        "def fill(native, message):",
        "    values = message.__dict__",
        "    name = None",
        "    try:",
        *(f"        {line}" for field in fields for line in field.putting()),
        "        pass",
        "    except (TypeError, ValueError) as error:",
        "        raise placed(error, f'{cls.__name__}.{name}') from error",
        "    if values['_unknown_fields']:",
        "        native.MergeFromString(values['_unknown_fields'])",
        "def made_of(native):",
        "    message = new(cls)",
        "    message.__dict__ = {",
        *(f"        {field.name!r}: {field.getting()}," for field in fields),
        "        '_unknown_fields': unknown(native) if len(UnknownFieldSet(native)) else b'',",
        "    }",
        "    return message",
    ]
    exec(compile("\n".join(lines), f"<codec of {message_class.__name__}>", "exec"), names)
    return names["fill"], names["made_of"]


class _Field:
    """How one field's values are moved: as lines of Python, in which `native` is the message of google.protobuf."""

    def __init__(self, message_class: type[betterproto2.Message], name: str, meta: FieldMetadata) -> None:
        self.name = name
        self.key = f"f{meta.number}"
        self._class = message_class
        self._is_map = meta.map_meta is not None
        self._is_repeated = bool(meta.repeated)
        self._has_presence = has_presence(meta)
        value = meta.map_meta[1] if meta.map_meta else meta
        self._is_message = value.proto_type == MESSAGE
        self._is_as_it_is = value.proto_type not in {MESSAGE, ENUM}
        self._is_float = value.proto_type in {"double", "float"}
        self.fill = self._filler(value)
        """Fills a nested message; None for a value that google.protobuf takes as it is."""
        self.make = self._maker(value)
        """What a value of google.protobuf's becomes."""

    def putting(self) -> Sequence[str]:
        """Lines that give `native` the value. `name` tells, if one fails, whose it is."""
        is_there = " is not None"
        if self._is_as_it_is and not (self._has_presence or self._is_map or self._is_repeated):
            # A value that its field has anyway is not written; a zero below zero is another one than zero.
            is_there = " or (value == 0 and copysign(1.0, value) < 0)" if self._is_float else ""
        condition = f"if (value := values[name]){is_there}:"
        return [f"name = {self.name!r}", condition, *(f"    {line}" for line in self._putting_value())]

    def _putting_value(self) -> Sequence[str]:
        key, fill = f"native.{self.key}", f"fill_{self.key}"
        if self._is_map:
            if self._is_message:
                return [f"entries = {key}", "for k, v in value.items():", f"    {fill}(entries[k], v)"]
            return [f"{key}.update(value)"]
        if self._is_repeated:
            if self._is_message:
                return [f"add = {key}.add", "for each in value:", f"    {fill}(add(), each)"]
            return [f"{key}.extend(value)"]
        if self._is_message:
            return [f"nested = {key}", "nested.SetInParent()", f"{fill}(nested, value)"]
        return [f"{key} = value"]

    def getting(self) -> str:
        """An expression for the value in `native`."""
        key = f"native.{self.key}"

        def made(value: str) -> str:
            return value if self._is_as_it_is else f"make_{self.key}({value})"

        if self._is_map:
            return f"{{k: {made('v')} for k, v in {key}.items()}}"
        if self._is_repeated:
            return f"[{made('each')} for each in {key}]"
        if self._has_presence:
            return f"{made(key)} if native.HasField({self.key!r}) else None"
        return made(key)

    def _filler(self, meta: FieldMetadata) -> "_Fill | None":
        if meta.proto_type != MESSAGE:
            return None
        if meta.unwrap:
            wrapper = cast(type[_Wrapper], meta.unwrap())
            if wrapper.__name__ in _TIMES:
                return _TIMES[wrapper.__name__][0]
            fill = codec(cast(type[betterproto2.Message], wrapper)).fill
            return lambda native, value: fill(native, wrapper.from_wrapped(value))
        nested = self._value_class()
        # Asked for when first needed: a message may hold messages of its own type.
        return lambda native, value: codec(nested).fill(native, _instance(value, nested))

    def _maker(self, meta: FieldMetadata) -> Callable[[Any], Any]:
        if meta.proto_type == ENUM:
            return _enum_maker(self._value_class())
        if meta.proto_type != MESSAGE:
            return _as_it_is
        if meta.unwrap:
            wrapper = meta.unwrap()
            if wrapper.__name__ in _TIMES:
                return _TIMES[wrapper.__name__][1]
            made = codec(cast(type[betterproto2.Message], wrapper)).made_of
            return lambda native: made(native).to_wrapped()
        nested = self._value_class()
        return lambda native: codec(nested).made_of(native)

    def _value_class(self) -> type[Any]:
        return classes(self._class)[f"{self.name}.value" if self._is_map else self.name]


_Fill = Callable[[Native, Any], None]


def _fill_timestamp(native: Native, value: Any) -> None:
    native.f1, native.f2 = timestamp_parts(value)


def _fill_duration(native: Native, value: Any) -> None:
    native.f1, native.f2 = duration_parts(value)


_TIMES: Mapping[str, tuple[_Fill, Callable[[Any], Any]]] = {
    "Timestamp": (_fill_timestamp, lambda native: timestamp(native.f1, native.f2)),
    "Duration": (_fill_duration, lambda native: duration(native.f1, native.f2)),
}
"""Only well-known types stand for Python values, so the name says it all. They are in nearly every message; by way of
their classes they would take five times as long, and lose what is shorter than a microsecond."""


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
