"""The proto files that contracts can import without having them, from installed packages; no registry is needed.

googleapis-common-protos has google/api, google/type, google/rpc, google/longrunning and a few more as text. Of
buf/validate only the descriptor is installed, so its text is printed from the descriptor: numbers, names and types,
which is all that importing files need.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from protovalidate._gen.buf.validate.validate_pb import desc as validate_descriptor  # pyright: ignore

VALIDATE = "buf/validate/validate.proto"
COMMON = re.compile(
    r"google/(?:(?:api|gapic/metadata|logging/type|longrunning|rpc|rpc/context|type)/\w+"
    r"|cloud/(?:common_resources|extended_operations|location/locations))\.proto"
)
"""The files of googleapis-common-protos, by the names that imports use."""
ALSO_CALLED = {"google/longrunning/operations.proto": "operations_proto.proto"}
"""The package has one file under another name, since `operations_pb2` was taken."""
WITH_SERVICES = frozenset({"google/longrunning/operations.proto", "google/cloud/location/locations.proto"})
"""A project that keeps copies of these may mean to implement them."""
IMPORT = re.compile(r"""\bimport\s+(?:public\s+|weak\s+|option\s+)?["\']([^"\'\n]+)["\']""")
LABELS = {
    FieldDescriptorProto.LABEL_OPTIONAL: "optional",
    FieldDescriptorProto.LABEL_REQUIRED: "required",
    FieldDescriptorProto.LABEL_REPEATED: "repeated",
}
EXTENSION_RANGE_END = 536870912
"""One past the largest field number."""


@cache
def validate_file() -> bytes:
    """buf/validate/validate.proto as a serialized FileDescriptorProto, exactly as protovalidate ships it."""
    return bytes(validate_descriptor().proto.to_binary())  # pyright: ignore


def is_built_in(name: str) -> bool:
    """Whether sagagen supplies this file, even if a project keeps its own copy. `name` is the path that imports use."""
    is_common = COMMON.fullmatch(name) is not None and name not in WITH_SERVICES
    return is_common or name.startswith("google/protobuf/") or name == VALIDATE


def imports(text: str) -> frozenset[str]:
    """The files that a proto imports. May have more, from comments."""
    return frozenset(IMPORT.findall(text))


def dependency_texts(wanted: Iterable[str]) -> dict[str, str]:
    """Import path -> text: of those `wanted` that are at hand, and of what they import themselves."""
    texts: dict[str, str] = {}
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in texts and (text := _text(name)) is not None:
            texts[name] = text
            waiting += imports(text)
    return texts


def neighbours(name: str) -> list[str]:
    """The built-in files in the folder of one that there is not."""
    folder = name.rpartition("/")[0]
    if not COMMON.fullmatch(name):
        return []
    try:
        found = files(folder.replace("/", ".")).iterdir()
        return sorted(f"{folder}/{one.name}" for one in found if one.name.endswith(".proto"))
    except ModuleNotFoundError:
        return []


def _text(name: str) -> str | None:
    if name == VALIDATE:
        return print_file(FileDescriptorProto.FromString(validate_file()))
    source = _source(name) if COMMON.fullmatch(name) else None
    return source.read_text("utf-8") if source is not None else None


def _source(name: str) -> Traversable | None:
    folder, _, file = name.rpartition("/")
    try:
        found = files(folder.replace("/", ".")).joinpath(ALSO_CALLED.get(name, file))
    except ModuleNotFoundError:  # an older googleapis-common-protos, which has less
        return None
    return found if found.is_file() else None


def print_file(file: FileDescriptorProto) -> str:
    """Proto2 source of a file: its types and extensions, without options and comments."""
    return "\n".join(
        [
            'syntax = "proto2";',
            f"package {file.package};",
            *(f'import "{path}";' for path in file.dependency),
            *(line for message in file.message_type for line in _message(message)),
            *(line for enum in file.enum_type for line in _enum(enum)),
            *(f"extend {field.extendee} {{ {_field(field)} }}" for field in file.extension),
            "",
        ]
    )


def _message(message: DescriptorProto) -> Iterator[str]:
    yield f"message {message.name} {{"
    for nested in message.nested_type:
        yield from _message(nested)
    for enum in message.enum_type:
        yield from _enum(enum)
    for index, oneof in enumerate(message.oneof_decl):
        members = (
            field for field in message.field if field.HasField("oneof_index") and field.oneof_index == index
        )
        yield f"oneof {oneof.name} {{ {' '.join(_member(field) for field in members)} }}"
    yield from (_field(field) for field in message.field if not field.HasField("oneof_index"))
    for numbers in message.extension_range:
        end = "max" if numbers.end >= EXTENSION_RANGE_END else numbers.end - 1
        yield f"extensions {numbers.start} to {end};"
    yield "}"


def _enum(enum: EnumDescriptorProto) -> Iterator[str]:
    yield f"enum {enum.name} {{"
    if enum.options.allow_alias:
        yield "option allow_alias = true;"
    yield from (f"{value.name} = {value.number};" for value in enum.value)
    yield "}"


def _field(field: FieldDescriptorProto) -> str:
    return f"{LABELS[field.label]} {_member(field)}"


def _member(field: FieldDescriptorProto) -> str:
    name = field.type_name or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"{name} {field.name} = {field.number};"
