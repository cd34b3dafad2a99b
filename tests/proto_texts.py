"""Protos written in a test, compiled by buf, named and turned into importable message modules."""

import importlib
import itertools
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.message import Message

from sagagen.contract.buf import buf_command
from sagagen.diagnostics import Diagnostic
from sagagen.emit.mesh_view import message_pool_view
from sagagen.emit.messages import compile_messages
from sagagen.emit.templates import render_template
from sagagen.python_names import PB_PACKAGE, PyClass, PythonNames
from sagagen.python_naming import assign_names
from sagagen.source import Span

_numbers = itertools.count()


def descriptors(folder: Path, protos: Mapping[str, str]) -> list[FileDescriptor]:
    """Compile `path -> text`; the linked files, imports left out."""
    contracts = folder / f"protos{next(_numbers)}"
    for path, text in protos.items():
        contracts.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
        contracts.joinpath(path).write_text(text, encoding="utf-8")
    image = subprocess.run(
        [buf_command(), "build", str(contracts), "-o", "-", "--as-file-descriptor-set"],
        capture_output=True,
        check=False,
    )
    assert image.returncode == 0, image.stderr.decode()
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(image.stdout).file
    for file in files:
        pool.Add(file)  # pyright: ignore[reportUnknownMemberType] - stub takes Any
    return [pool.FindFileByName(file.name) for file in files if file.name in protos]


@dataclass(frozen=True)
class Compiled:
    """Message classes, imported from a package of their own."""

    names: PythonNames
    diagnostics: list[Diagnostic]
    files: list[FileDescriptor]
    sources: Mapping[str, str]
    package: str

    def module(self, module: str) -> ModuleType:
        return importlib.import_module(module.replace(PB_PACKAGE, self.package, 1))

    def python_class(self, py_class: PyClass) -> Any:
        return getattr(self.module(py_class.module), py_class.name)


def compile_protos(
    folder: Path, protos: Mapping[str, str], docs: Mapping[str, str] | None = None, package: str = ""
) -> Compiled:
    """Without a name for the package, it gets one that no other has."""
    files = descriptors(folder, protos)
    diagnostics: list[Diagnostic] = []
    names = assign_names(files, diagnostics.append, lambda full_name: Span(f"{full_name}.proto"))
    sources = compile_messages(names, docs or {})
    package = package or f"messages_{next(_numbers)}_{folder.name}".replace("-", "_")
    root = folder / package
    for dotted, source in sources.items():
        path = root.joinpath(*filter(None, dotted.split(".")), "__init__.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    pool = render_template("message_pool.py.j2", message_pool_view(names))
    root.joinpath("message_pool.py").write_text(pool, encoding="utf-8")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    return Compiled(names, diagnostics, files, sources, package)


def filled(descriptor: Descriptor, depth: int = 0) -> Message:
    """A google.protobuf message with a value in every field, and in one member of each oneof; an Any is empty."""
    message: Any = message_factory.GetMessageClass(descriptor)()
    if descriptor.full_name == "google.protobuf.Any":
        return message
    for field in descriptor.fields:
        if field.message_type is not None and depth > 2:
            continue
        if field.containing_oneof is None or message.WhichOneof(field.containing_oneof.name) is None:
            _fill(message, field, depth)
    return message


def _fill(message: Any, field: FieldDescriptor, depth: int) -> None:
    target = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        if value.message_type is not None:
            target[_scalar(key)].CopyFrom(filled(value.message_type, depth + 1))
        else:
            target[_scalar(key)] = _scalar(value)
    elif field.message_type is not None:
        inner = filled(field.message_type, depth + 1)
        target.add().CopyFrom(inner) if field.is_repeated else target.CopyFrom(inner)
    elif field.is_repeated:
        target.extend([_scalar(field), _scalar(field)])
    else:
        setattr(message, field.name, _scalar(field))


def _scalar(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return field.name if field.type == FieldDescriptor.TYPE_STRING else b"\xff\x00" + field.name.encode()
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return True
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return field.number + 0.5
    return field.number * 1000  # whole microseconds, where it counts nanoseconds


def all_messages(files: list[FileDescriptor]) -> list[Descriptor]:
    found: list[Descriptor] = []
    waiting = [message for file in files for message in file.message_types_by_name.values()]
    while waiting:
        message = waiting.pop()
        if not message.GetOptions().map_entry:
            found.append(message)
            waiting += message.nested_types
    return found


def assert_round_trips(compiled: Compiled) -> None:
    """Every message decodes in Python into what its fields say, and google.protobuf reads what it encodes as equal."""
    for descriptor in all_messages(compiled.files):
        original = filled(descriptor)
        python_class = compiled.python_class(compiled.names.message(descriptor))
        decoded = python_class.parse(original.SerializeToString())
        assert not decoded._unknown_fields, descriptor.full_name
        for field in descriptor.fields:
            if not field.is_repeated and field.has_presence:
                is_set = getattr(decoded, compiled.names.field(field)) is not None
                assert is_set == original.HasField(field.name), field.full_name
        assert type(original).FromString(bytes(decoded)) == original, descriptor.full_name
