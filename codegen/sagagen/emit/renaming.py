"""The contract's descriptors with Python names in them, as the input of the betterproto2 compiler.

betterproto2 makes class, field and member names out of proto names by rules of its own, which let names collide.
Since the wire has only numbers, the descriptors are rewritten so that its rules lead to the names that
`python_names` chose. Options are left out: none changes the wire, and `deprecated` would make every decoding warn.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MessageOptions,
)

from sagagen.emit.docstrings import printable
from sagagen.python_names import PythonNames, map_key, map_parts, member_prefix, snake_case

Docs = Mapping[str, str]

# Field numbers in descriptor.proto, which are the parts of paths in SourceCodeInfo.
_FILE_MESSAGES, _FILE_ENUMS = 4, 5
_MESSAGE_FIELDS, _MESSAGE_MESSAGES, _MESSAGE_ENUMS, _MESSAGE_ONEOFS = 2, 3, 4, 8
_ENUM_VALUES = 2

Path = tuple[int, ...]
NamedType = Descriptor | EnumDescriptor


def renamed(file: FileDescriptor, names: PythonNames, docs: Docs) -> FileDescriptorProto:
    """The file with Python's names, and `docs` as its only comments."""
    return _Renamer(names, docs, FileDescriptorProto()).rename(file)


def registered_names(names: PythonNames) -> dict[tuple[str, str], tuple[str, str]]:
    """Package and name under which a renamed message would be registered for Any -> those of the contract."""
    renamed: dict[tuple[str, str], tuple[str, str]] = {}
    for message in _all_messages(names.files):
        ours = (names.packages[message.file.package], _spelling(message, names))
        theirs = (message.file.package, _below_package(message.full_name, message.file.package))
        if ours != theirs:
            renamed[ours] = theirs
    return renamed


def redacted_attributes(names: PythonNames) -> dict[str, tuple[str, ...]]:
    """Full name of each message with `debug_redact` fields -> the Python names of those fields."""
    found = {
        message.full_name: tuple(
            names.field(field) for field in message.fields if field.GetOptions().debug_redact
        )
        for message in _all_messages(names.files)
    }
    return {message: attributes for message, attributes in found.items() if attributes}


@dataclass(frozen=True, slots=True)
class _Renamer:
    """Builds one file; `target` grows."""

    names: PythonNames
    docs: Docs
    target: FileDescriptorProto

    def rename(self, file: FileDescriptor) -> FileDescriptorProto:
        self.target.name = file.name
        self.target.package = self.names.packages[file.package]
        self.target.syntax = "proto3"
        self.target.source_code_info.SetInParent()
        for n, message in enumerate(file.message_types_by_name.values()):
            self.target.message_type.append(self._message(message, (_FILE_MESSAGES, n)))
        for n, enum in enumerate(file.enum_types_by_name.values()):
            self.target.enum_type.append(self._enum(enum, (_FILE_ENUMS, n)))
        return self.target

    def _message(self, message: Descriptor, path: Path) -> DescriptorProto:
        self._comment(path, _doc(message, self.docs, self.names.spellings[message.full_name]))
        original = _proto_of(message)
        result = DescriptorProto(name=self.names.spellings[message.full_name])
        for n, oneof in enumerate(original.oneof_decl):
            result.oneof_decl.add(name=oneof.name)
            self._comment((*path, _MESSAGE_ONEOFS, n), self.docs.get(f"{message.full_name}.{oneof.name}", ""))
        for n, (field, declared) in enumerate(zip(message.fields, original.field, strict=True)):
            self._comment((*path, _MESSAGE_FIELDS, n), _field_doc(field, self.docs, self.names))
            result.field.append(self._field(field, declared))
        self._add_nested(message, result, path)
        return result

    def _add_nested(self, message: Descriptor, result: DescriptorProto, path: Path) -> None:
        for field in message.fields:
            if map_parts(field):
                result.nested_type.append(self._entry(field))
        for nested in message.nested_types:
            if not nested.GetOptions().map_entry:
                inner_path = (*path, _MESSAGE_MESSAGES, len(result.nested_type))
                result.nested_type.append(self._message(nested, inner_path))
        for n, enum in enumerate(message.enum_types):
            result.enum_type.append(self._enum(enum, (*path, _MESSAGE_ENUMS, n)))

    def _field(self, field: FieldDescriptor, declared: FieldDescriptorProto) -> FieldDescriptorProto:
        result = self._bare_field(field, self.names.field(field))
        is_member = declared.HasField("oneof_index") and not declared.proto3_optional
        if is_member:
            result.oneof_index = declared.oneof_index
        elif field.has_presence and field.message_type is None:
            result.proto3_optional = (
                True  # also for proto2 and editions, which declare presence in other ways
            )
        return result

    def _bare_field(self, field: FieldDescriptor, name: str) -> FieldDescriptorProto:
        result = FieldDescriptorProto(name=name, number=field.number)
        result.type = FieldDescriptorProto.Type.ValueType(field.type)
        is_repeated = field.is_repeated
        result.label = (
            FieldDescriptorProto.LABEL_REPEATED if is_repeated else FieldDescriptorProto.LABEL_OPTIONAL
        )
        if map_parts(field):
            result.type_name = f".{_entry_name(name)}"
        elif used := field.message_type or field.enum_type:
            package = self.names.packages[used.file.package]
            result.type_name = ".".join(["", *filter(None, [package]), _spelling(used, self.names)])
        return result

    def _entry(self, field: FieldDescriptor) -> DescriptorProto:
        """A map's entry type, named as betterproto2 expects it for the field's new name."""
        entry = DescriptorProto(
            name=_entry_name(self.names.field(field)), options=MessageOptions(map_entry=True)
        )
        for part in map_parts(field):
            entry.field.append(self._bare_field(part, part.name))
        return entry

    def _enum(self, enum: EnumDescriptor, path: Path) -> EnumDescriptorProto:
        self._comment(path, _doc(enum, self.docs, self.names.spellings[enum.full_name]))
        result = EnumDescriptorProto(name=_own_spelling(enum, self.names))
        spelled = _member_spellings(enum, self.names)
        for n, (value, name) in enumerate(zip(enum.values, spelled, strict=True)):
            result.value.add(name=name, number=value.number)
            self._comment((*path, _ENUM_VALUES, n), self.docs.get(f"{enum.full_name}.{value.name}", ""))
        return result

    def _comment(self, path: Path, text: str) -> None:
        if text:
            # The compiler takes one leading blank from each line, as in `// text`.
            lines = [f" {line}".rstrip() for line in printable(text).split("\n")]
            self.target.source_code_info.location.add(path=path, leading_comments="\n".join(lines))


def _doc(named_type: NamedType, docs: Docs, spelling: str) -> str:
    note = "" if spelling == named_type.name else f"`{named_type.full_name}` in the contract."
    return _paragraphs(docs.get(named_type.full_name, ""), note, _deprecation(named_type))


def _field_doc(field: FieldDescriptor, docs: Docs, names: PythonNames) -> str:
    note = "" if names.field(field) == snake_case(field.name) else f"`{field.name}` in the contract."
    return _paragraphs(docs.get(field.full_name, ""), note, _deprecation(field))


def _deprecation(declared: NamedType | FieldDescriptor) -> str:
    return "Deprecated." if declared.GetOptions().deprecated else ""


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _entry_name(field: str) -> str:
    return f"{map_key(field)}entry"


def _member_spellings(enum: EnumDescriptor, names: PythonNames) -> list[str]:
    """The names from which the compiler makes members' names: with the prefix that it will remove again."""
    prefix = member_prefix(names.spellings[enum.full_name], [value.name for value in enum.values])
    return [prefix + names.enum_value(value) for value in enum.values]


def _takes_prefix(enum_name: str, values: Sequence[str]) -> bool:
    """The compiler removes a prefix that all values share, if it is the enum's name without underscores."""
    first = values[0]
    ends = (n for n in range(1, len(first) + 1) if map_key(first[:n]) == map_key(enum_name))
    prefix = next((f"{first[:n]}_" for n in ends), "")
    return bool(prefix) and all(value.startswith(prefix) for value in values)


def _own_spelling(named_type: NamedType, names: PythonNames) -> str:
    """The simple name; with a hyphen, which class names lose, for enums whose prefix the compiler should keep."""
    spelling = names.spellings[named_type.full_name]
    if isinstance(named_type, Descriptor):
        return spelling
    spelled = _member_spellings(named_type, names)
    keeps_prefix = spelled == [names.enum_value(value) for value in named_type.values]
    return f"{spelling}-" if keeps_prefix and _takes_prefix(spelling, spelled) else spelling


def _spelling(named_type: NamedType, names: PythonNames) -> str:
    """`Order.Status`, respelled."""
    own = _own_spelling(named_type, names)
    outer = named_type.containing_type
    return own if outer is None else f"{_spelling(outer, names)}.{own}"


def _below_package(full_name: str, package: str) -> str:
    return full_name[len(package) + 1 :] if package else full_name


def _proto_of(message: Descriptor) -> DescriptorProto:
    proto = DescriptorProto()
    message.CopyToProto(proto)
    return proto


def _all_messages(files: Sequence[FileDescriptor]) -> Iterator[Descriptor]:
    for file in files:
        for message in file.message_types_by_name.values():
            yield from _with_nested(message)


def _with_nested(message: Descriptor) -> Iterator[Descriptor]:
    yield message
    for nested in message.nested_types:
        if not nested.GetOptions().map_entry:
            yield from _with_nested(nested)
