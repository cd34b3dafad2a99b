"""Names of the contract as Python names.

`python_naming` decides them; this module looks them up, and also turns words into names for other modules.
"""

import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, count

from betterproto2_compiler import casing
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    EnumValueDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)

PB_PACKAGE = "generated.pb"
"""Where the message classes live."""

UNWRAPPED: Mapping[str, str] = {
    "google.protobuf.BoolValue": "bool",
    "google.protobuf.BytesValue": "bytes",
    "google.protobuf.DoubleValue": "float",
    "google.protobuf.Duration": "datetime.timedelta",
    "google.protobuf.FloatValue": "float",
    "google.protobuf.Int32Value": "int",
    "google.protobuf.Int64Value": "int",
    "google.protobuf.StringValue": "str",
    "google.protobuf.Timestamp": "datetime.datetime",
    "google.protobuf.UInt32Value": "int",
    "google.protobuf.UInt64Value": "int",
}
"""Messages that betterproto2 shows as a plain Python type when they are a field's type, and that type."""

pascal_case = lru_cache(maxsize=65536)(casing.pascal_case)
"""betterproto2's conversion, cached: it takes 5 us a name, and packages often use the same names."""


@dataclass(frozen=True, slots=True, order=True)
class PyClass:
    """A generated class, and the module that defines it."""

    module: str
    name: str


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """`from module import name as alias`; without `name`, `import module`."""

    module: str
    name: str = ""
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class PythonNames:
    """The Python name of everything in the contract. Raises KeyError for a descriptor of another contract."""

    files: tuple[FileDescriptor, ...]
    """The files whose messages are generated: the named ones and those that they refer to, sorted by path."""
    packages: Mapping[str, str]
    """Proto package -> dotted Python package below `generated.pb`."""
    spellings: Mapping[str, str]
    """Full name of a message or enum -> its simple proto name, changed where the class needs another name."""
    classes: Mapping[str, PyClass]
    fields: Mapping[str, str]
    values: Mapping[str, str]
    """`<full name of the enum>.<value>` -> member name."""

    def message(self, descriptor: Descriptor) -> PyClass:
        return self.classes[descriptor.full_name]

    def enum(self, descriptor: EnumDescriptor) -> PyClass:
        return self.classes[descriptor.full_name]

    def field(self, descriptor: FieldDescriptor) -> str:
        """The attribute, which is the keyword argument of the class too."""
        return self.fields[descriptor.full_name]

    def enum_value(self, descriptor: EnumValueDescriptor) -> str:
        """The member's name in its class."""
        return self.values[f"{descriptor.type.full_name}.{descriptor.name}"]

    def method(self, descriptor: MethodDescriptor) -> str:
        """The handler's method: `reserve_stock`."""
        return without_leading_underscores(snake_case(descriptor.name), "rpc")

    def is_unwrapped(self, descriptor: Descriptor) -> bool:
        """A field of this type is a plain Python value (or None) instead of a message."""
        return descriptor.full_name in UNWRAPPED


def identifier(name: str) -> str:
    """A valid Python identifier that is not a keyword: the name itself, if it is one."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not word or word[0].isdigit():
        word = f"_{word}"
    return f"{word}_" if keyword.iskeyword(word) else word


@lru_cache(maxsize=65536)
def snake_case(name: str) -> str:
    """`PlaceOrder` -> `place_order`, `getHTTPRoute2` -> `get_http_route2`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"__(?=\w)", "_", spaced).lower() if spaced != name else name.lower()


def class_name(name: str) -> str:
    """`place_order` -> `PlaceOrder`; never a keyword."""
    return identifier(pascal_case(name))


def allot(
    wishes: Sequence[str],
    taken: Iterable[str],
    alternatives: Callable[[str], Iterator[str]],
    key: Callable[[str], str] = str,
) -> list[str]:
    """One name for each wish, no two with the same key.

    The first to ask for a free name gets it; the others get an alternative that nothing else asks for.
    """
    reserved = frozenset(taken)
    wished = {key(wish) for wish in wishes}
    given: set[str] = set()
    names: list[str] = []
    for wish in wishes:
        names.append(
            wish
            if wish not in reserved and key(wish) not in given
            else next(
                name
                for name in alternatives(wish)
                if name not in reserved
                and key(name) not in given
                and (key(name) not in wished or key(name) == key(wish))
            )
        )
        given.add(key(names[-1]))
    return names


def with_underscore(name: str) -> Iterator[str]:
    """`parse_`, `parse_2`, `parse_3`, ..."""
    stem = name.rstrip("_")
    return chain([f"{stem}_"], (f"{stem}_{n}" for n in count(2)))


@lru_cache(maxsize=65536)
def without_leading_underscores(name: str, fallback: str) -> str:
    """Two leading underscores are mangled in a class body, one is private; so a name begins with a letter."""
    stripped = name.lstrip("_")
    return identifier(stripped if stripped[:1].isalpha() else f"{fallback}_{stripped}".rstrip("_"))


def map_key(field: str) -> str:
    """The form in which betterproto2's compiler compares names to find the entry type of a map field."""
    return field.replace("_", "").lower()


def member_prefix(enum_name: str, values: Sequence[str]) -> str:
    """`STATUS_` of `Status`, if all values begin with it and the rest begins with a letter; otherwise empty."""
    first = values[0] if values else ""
    ends = (n for n in range(1, len(first)) if map_key(first[:n]) == map_key(enum_name) and first[n] == "_")
    prefix = next((first[: n + 1] for n in ends), "")
    is_common = all(value.startswith(prefix) and value[len(prefix) :][:1].isalpha() for value in values)
    return prefix if is_common else ""


def map_parts(field: FieldDescriptor) -> tuple[FieldDescriptor, ...]:
    """The key and the value of a map field; empty for any other."""
    entry = field.message_type
    if entry is None or not is_map_entry(entry):
        return ()
    return (entry.fields_by_name["key"], entry.fields_by_name["value"])


def is_map_entry(message: Descriptor) -> bool:
    """Made by protoc for a map field, and not declared."""
    return message.has_options and message.GetOptions().map_entry
