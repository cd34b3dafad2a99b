"""The proto files that contracts can import without having them: google/api and buf/validate, from installed packages.

buf's registry is not needed. google/api comes as text; of buf/validate only the descriptor is installed, so its text is
printed from the descriptor: numbers, names and types, which is all that importing files need.
"""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from protovalidate._gen.buf.validate.validate_pb import desc as validate_descriptor  # pyright: ignore

VALIDATE = "buf/validate/validate.proto"
GOOGLE_API = ("google/api/annotations.proto", "google/api/http.proto")
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


def dependency_texts() -> dict[str, str]:
    """Import path -> text of each file."""
    api = files("google.api")
    texts = {path: (api / path.removeprefix("google/api/")).read_text("utf-8") for path in GOOGLE_API}
    return {**texts, VALIDATE: print_file(FileDescriptorProto.FromString(validate_file()))}


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
