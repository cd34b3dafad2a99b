"""What fields and enum values were called before: in the descriptors that a run is about to replace, or in git's."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

from sagagen.contract.model import Mesh
from sagagen.emit.message_shapes import all_types
from sagagen.emit.paths import GENERATED
from sagagen.git import GitMissing, file_at
from sagagen.python_names import member_prefix, snake_case

_DESCRIPTORS = f"{GENERATED}/descriptors.binpb"

_Numbers = Mapping[str, Mapping[int, str]]
"""Full name of a message or enum -> what its numbers are called."""


@dataclass(frozen=True)
class RenamedFields:
    """Looked up only when a handler names what the contract lacks, so the disk and git are read only then."""

    root: Path
    mesh: Mesh

    def __call__(self, of: str, attribute: str) -> str:
        """What the contract calls now what was `attribute` of `of` (a full name); empty if that is not known."""
        for before in self._before:
            for number, name in before.get(of, {}).items():
                now = self._now.get((of, number), "")
                if _plain(name) == _plain(attribute) and now != attribute:
                    return now
        return ""

    @cached_property
    def _before(self) -> tuple[_Numbers, ...]:
        return tuple(map(_numbers, self._contents()))

    def _contents(self) -> Iterator[bytes]:
        with suppress(OSError):
            yield (self.root / _DESCRIPTORS).read_bytes()
        try:
            yield file_at(self.root, "HEAD", _DESCRIPTORS) or b""
        except GitMissing:
            return

    @cached_property
    def _now(self) -> Mapping[tuple[str, int], str]:
        names = self.mesh.names
        found: dict[tuple[str, int], str] = {}
        for one in all_types(names):
            if isinstance(one, Descriptor):
                found.update(((one.full_name, field.number), names.field(field)) for field in one.fields)
            else:
                found.update(((one.full_name, value.number), names.enum_value(value)) for value in one.values)
        return found


def _plain(name: str) -> str:
    """As far as a proto name and a Python name agree: `customerId`, `customer_id` and `customer_id_` are one."""
    return re.sub(r"_", "", snake_case(name))


def _numbers(descriptors: bytes) -> _Numbers:
    try:
        files = FileDescriptorSet.FromString(descriptors)
    except DecodeError:
        return {}
    found: dict[str, dict[int, str]] = {}
    for file in files.file:
        prefix = f"{file.package}." if file.package else ""
        for message in file.message_type:
            found.update(_of_message(prefix, message))
        found.update(_of_enum(prefix, enum) for enum in file.enum_type)
    return found


def _of_message(prefix: str, message: DescriptorProto) -> Iterator[tuple[str, dict[int, str]]]:
    name = f"{prefix}{message.name}"
    yield name, {field.number: field.name for field in message.field}
    for inner in message.nested_type:
        yield from _of_message(f"{name}.", inner)
    yield from (_of_enum(f"{name}.", enum) for enum in message.enum_type)


def _of_enum(prefix: str, enum: EnumDescriptorProto) -> tuple[str, dict[int, str]]:
    common = member_prefix(enum.name, [value.name for value in enum.value])
    return f"{prefix}{enum.name}", {value.number: value.name.removeprefix(common) for value in enum.value}
