"""Names that protoc takes, and that mean something else to Python, betterproto2, google.protobuf or what is emitted."""

import builtins
import dataclasses
import keyword
import typing
from collections.abc import Iterator

import betterproto2
from google.protobuf.empty_pb2 import Empty

from sagagen import runtime
from sagagen.runtime import wire

_EMITTED = (
    "MESH", "ROUTES", "SERVICE", "Path", "Code", "Scope", "scope", "request_sell", "body", "annotations", "generated",
    "handlers", "gateway", "services", "sagas", "mesh", "pb", "routes", "message_pool", "default_message_pool", "call",
    "request", "timeout_s", "metadata", "transport", "reply", "init", "self", "cls", "x", "value", "k", "v", "msg",
)  # fmt: skip
"""What modules of ours define, import or pass."""
_IMPORTED = (
    "betterproto2", "builtins", "dataclass", "datetime", "dateutil", "grpc", "grpclib", "re", "typing", "warnings",
    "Self", "Iterator", "Iterable", "AsyncIterator", "Descriptor", "EnumDescriptor", "Deadline", "MetadataLike", "wire",
    "TYPE_CHECKING", "google", "Google", "test", "os", "sys", "sagagen", "yaml", "json", "logging", "asyncio", "types",
)  # fmt: skip
_LOOKS = (
    "_", "__", "___", "a", "A", "_a", "a_", "a__b", "a_b", "aB", "AB", "ab", "A1", "a1b2", "_1", "a_1", "X_",
    "fooBAR", "HTTPRoute", "http_route", "HttpRoute", "MessageInner", "Message_Inner", "Message", "Enum", "Entry",
    "AEntry", "inf", "nan", "NaN", "true", "false", "null", "map", "group", "oneof", "message", "package", "syntax",
    "option", "optional", "required", "repeated", "string", "double", "int32", "max", "reserved", "extensions",
    "to", "stream", "returns", "rpc", "service", "input", "saga", "steps", "failure", "has", "size", "in", "dict_",
    "Str", "Int", "Dict", "None_", "Sale2",
)  # fmt: skip


def _attributes(*classes: type) -> Iterator[str]:
    for one in classes:
        for base in one.__mro__:
            yield from vars(base)


def _elsewhere() -> Iterator[str]:
    yield from _attributes(int, dict, str)
    yield from dir(builtins)
    yield from vars(typing)
    yield from dir(runtime)


REFUSED = frozenset(name for name in dir(Empty) if not name.startswith("_"))
"""As names of fields: SG142."""
_WORST = tuple(
    sorted(
        {
            *_attributes(betterproto2.Enum, wire.Message),
            *dataclasses.__all__,
            *keyword.kwlist,
            *keyword.softkwlist,
        }
    )
)
"""Names that classes of messages and enums have, or can't have."""
ODD_NAMES = tuple(
    name
    for name in dict.fromkeys((*_EMITTED, *_IMPORTED, *_LOOKS, *_WORST, *sorted(_elsewhere())))
    if name.isidentifier() and name.isascii() and name not in REFUSED
)
"""The oddest first."""
ODD_PACKAGES = tuple(
    sorted(
        {
            name.lower()
            for name in (*_EMITTED, *_IMPORTED, *keyword.kwlist, "str", "int", "list", "dict", "bool")
        }
    )
)


def free(wish: str, taken: set[str]) -> str:
    """The name itself, or with a number: as protoc wants it, different from its neighbours in JSON too."""
    for number in range(2, 10_000):
        key = wish.replace("_", "").lower()
        if key not in taken:
            taken.add(key)
            return wish
        wish = f"{wish.rstrip('0123456789')}{number}"
    raise AssertionError("unreachable: the numbers do not end")
