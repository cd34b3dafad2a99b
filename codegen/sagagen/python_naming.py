"""Names of the contract as Python names: decided once, unique, and never a keyword.

Protobuf's wire format has only numbers, so a message, field or enum value may have a different name in Python without
any change on the wire. Names stay as in the contract wherever Python and betterproto2 allow it. A name that would hide
a method of `betterproto2.Message`, shadow a builtin that annotations use, break an import or collide with a neighbour
gets an alternative: a trailing underscore (fields, packages, enum values), or a number (classes).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, count

import betterproto2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.empty_pb2 import Empty

from sagagen.diagnostics import Diagnostic, Report, Severity
from sagagen.python_names import (
    PB_PACKAGE,
    PyClass,
    PythonNames,
    allot,
    identifier,
    is_map_entry,
    map_key,
    map_parts,
    member_prefix,
    pascal_case,
    snake_case,
    with_underscore,
    without_leading_underscores,
)
from sagagen.source import Span

_MODULE_NAMES = frozenset({
    "betterproto2", "builtins", "dataclass", "datetime", "dateutil", "default_message_pool", "grpc", "grpclib",
    "message_pool", "re", "typing", "warnings",
})  # fmt: skip
"""Names that a message module itself uses: a field or a package of that name would hide them."""
_ANNOTATIONS = frozenset({"bool", "bytes", "dict", "float", "int", "list", "str"})
_MESSAGE_ATTRIBUTES = frozenset(dir(betterproto2.Message))
_FIELD_NAMES_TAKEN = _MODULE_NAMES | _ANNOTATIONS | _MESSAGE_ATTRIBUTES | {"self"}
_PACKAGE_NAMES_TAKEN = _MODULE_NAMES | _ANNOTATIONS | {"tuple", "wire"}
_ENUM_ATTRIBUTES = frozenset(chain(dir(type(betterproto2.Enum)), *map(vars, betterproto2.Enum.__mro__)))
"""`dir` of an enum leaves its methods out."""
_MEMBER_NAMES_TAKEN = _ENUM_ATTRIBUTES | _MODULE_NAMES | _ANNOTATIONS | {"classmethod"}
_WIRE_ATTRIBUTES = frozenset(name for name in dir(Empty) if not name.startswith("_"))
"""Of google.protobuf's messages, into which JSON is read, and whose rules are checked. They find a field first."""
_CLASS_NAMES_TAKEN = frozenset({"DeprecationWarning", "False", "None", "TYPE_CHECKING", "True"})

NamedType = Descriptor | EnumDescriptor


def assign_names(
    files: Sequence[FileDescriptor], report: Report, spans: Callable[[str], Span]
) -> PythonNames:
    """Name everything in `files` and in the files whose types they use.

    Reports what betterproto2 cannot express, at the place that `spans` has for the full name.
    """
    used = _with_used_files(files)
    packages = _assign_packages(sorted({file.package for file in used}))
    spellings, classes = _assign_classes(used, packages)
    below = _modules_below(packages)
    fields: dict[str, str] = {}
    values: dict[str, str] = {}
    for named_type in _all_types(used):
        if isinstance(named_type, EnumDescriptor):
            values |= _assign_members(named_type, spellings[named_type.full_name])
        else:
            _report_unsupported(named_type, report, spans)
            fields |= _assign_fields(named_type, below[named_type.file.package])
    return PythonNames(used, packages, spellings, classes, fields, values)


def nested_types(message: Descriptor) -> list[NamedType]:
    """The messages and enums declared in a message, in the order of the proto, without entries of maps."""
    nested = [inner for inner in message.nested_types if not is_map_entry(inner)]
    return [*nested, *message.enum_types]


def top_level_types(file: FileDescriptor) -> list[NamedType]:
    return [*file.message_types_by_name.values(), *file.enum_types_by_name.values()]


def _all_types(files: Iterable[FileDescriptor]) -> Iterator[NamedType]:
    waiting = deque(named_type for file in files for named_type in top_level_types(file))
    while waiting:
        named_type = waiting.popleft()
        yield named_type
        if isinstance(named_type, Descriptor):
            waiting += nested_types(named_type)


def _with_used_files(files: Sequence[FileDescriptor]) -> tuple[FileDescriptor, ...]:
    """`files`, and transitively those that define the types of their fields and rpcs; not those of options."""
    found = {file.name: file for file in files}
    waiting = list(files)
    while waiting:
        for named_type in _types_used_in(waiting.pop()):
            if named_type.file.name not in found:
                found[named_type.file.name] = named_type.file
                waiting.append(named_type.file)
    return tuple(found[name] for name in sorted(found))


def _types_used_in(file: FileDescriptor) -> Iterator[NamedType]:
    for message in _all_messages(file.message_types_by_name.values()):
        for field in message.fields:
            if used := field.message_type or field.enum_type:
                yield used
    for service in file.services_by_name.values():
        for method in service.methods:
            yield method.input_type
            yield method.output_type


def _all_messages(messages: Iterable[Descriptor]) -> Iterator[Descriptor]:
    for message in messages:
        yield message
        yield from _all_messages(message.nested_types)


def _assign_packages(packages: Sequence[str]) -> dict[str, str]:
    """Each segment of each package, unique among its siblings even where file names ignore case."""
    python = {"": ""}
    prefixes = {
        ".".join(package.split(".")[: n + 1]) for package in packages for n in range(package.count(".") + 1)
    }
    # Lower case chooses before capitals: the well-known types are known by their package `google.protobuf`.
    outermost_first = sorted(
        prefixes - {""}, key=lambda prefix: (prefix.count("."), prefix != prefix.lower(), prefix)
    )
    by_parent: dict[str, list[str]] = {}
    for prefix in outermost_first:
        by_parent.setdefault(prefix.rpartition(".")[0], []).append(prefix)
    for parent, children in by_parent.items():
        wishes = [identifier(child.rpartition(".")[2]) for child in children]
        names = allot(wishes, _PACKAGE_NAMES_TAKEN, with_underscore, str.casefold)
        for child, name in zip(children, names, strict=True):
            python[child] = f"{python[parent]}.{name}".lstrip(".")
    return {package: python[package] for package in packages}


def _assign_classes(
    files: Sequence[FileDescriptor], packages: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, PyClass]]:
    """Outer types choose before inner ones; betterproto2 joins the names of nested types."""
    spellings: dict[str, str] = {}
    classes: dict[str, PyClass] = {}
    paths: dict[str, str] = {}
    taken: dict[str, set[str]] = {package: set(_CLASS_NAMES_TAKEN) for package in packages}
    natural = {pascal_case(_path(named_type)) for named_type in _all_types(files)}
    for named_type in _all_types(files):
        package = named_type.file.package
        outer = f"{paths[named_type.containing_type.full_name]}." if named_type.containing_type else ""
        spelling = next(
            spelling
            for spelling in _class_spellings(named_type)
            if (name := pascal_case(outer + spelling)).isidentifier()
            and name not in taken[package]
            and (spelling == named_type.name or name not in natural)
        )
        spellings[named_type.full_name] = spelling
        paths[named_type.full_name] = outer + spelling
        name = pascal_case(outer + spelling)
        taken[package].add(name)
        classes[named_type.full_name] = PyClass(f"{PB_PACKAGE}.{packages[package]}".rstrip("."), name)
    return spellings, classes


def _path(named_type: NamedType) -> str:
    """`Order.Status`: the full name without the package."""
    package = named_type.file.package
    return named_type.full_name[len(package) + 1 :] if package else named_type.full_name


def _class_spellings(named_type: NamedType) -> Iterator[str]:
    """`Inner`, `Inner_2`, `Inner_3`, ...; `None_message` and `message_1` where that would not be a class name."""
    kind = "enum" if isinstance(named_type, EnumDescriptor) else "message"
    stem = named_type.name
    yield stem
    if pascal_case(stem) in _CLASS_NAMES_TAKEN:
        yield f"{stem}_{kind}"
    if not pascal_case(stem).isidentifier():
        stem = f"{kind}_{stem}"
        yield stem
    yield from (f"{stem}_{n}" for n in count(2))
    raise AssertionError("unreachable: the numbers do not end")


def _assign_fields(message: Descriptor, modules: AbstractSet[str]) -> dict[str, str]:
    """`modules`: names that its package's module has already taken."""
    # betterproto2 finds a map by its entry type's name, without underscores and case: such names collide there too.
    has_maps = any(map_parts(field) for field in message.fields)
    wishes = [without_leading_underscores(snake_case(field.name), "field") for field in message.fields]
    taken = _FIELD_NAMES_TAKEN | modules
    names = allot(wishes, taken, with_underscore, map_key if has_maps else str)
    return {field.full_name: name for field, name in zip(message.fields, names, strict=True)}


def _modules_below(packages: Mapping[str, str]) -> dict[str, set[str]]:
    """Package -> the names under which its module imports the packages inside it."""
    inside: dict[str, set[str]] = {name: set() for name in packages.values()}
    for name in filter(None, packages.values()):
        parts = name.split(".")
        for n in range(len(parts)):
            inside.setdefault(".".join(parts[:n]), set()).add("_".join(parts[n:]))
    return {package: inside[name] for package, name in packages.items()}


def _assign_members(enum: EnumDescriptor, spelling: str) -> dict[str, str]:
    declared = [value.name for value in enum.values]
    prefix = member_prefix(spelling, declared)
    wishes = [without_leading_underscores(name.removeprefix(prefix), "value") for name in declared]
    names = allot(wishes, _MEMBER_NAMES_TAKEN, with_underscore)
    return {f"{enum.full_name}.{value}": name for value, name in zip(declared, names, strict=True)}


def _report_unsupported(message: Descriptor, report: Report, spans: Callable[[str], Span]) -> None:
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_GROUP:
            report(
                Diagnostic(
                    spans(field.full_name),
                    Severity.ERROR,
                    "SG140",
                    f'field "{field.name}" is encoded as a group, which the generated messages cannot read',
                    "declare a message and a field of its type instead; in editions, without the DELIMITED encoding",
                )
            )
        if field.name in _WIRE_ATTRIBUTES:
            report(
                Diagnostic(
                    spans(field.full_name),
                    Severity.ERROR,
                    "SG142",
                    f'field "{field.name}" hides what all messages have under that name, so no JSON can be read',
                    f'call it "{snake_case(field.name)}"; what is encoded has only its number',
                )
            )
    if message.GetOptions().message_set_wire_format:
        report(
            Diagnostic(
                spans(message.full_name),
                Severity.ERROR,
                "SG141",
                f'message "{message.name}" has message_set_wire_format, which the generated messages cannot read',
                "remove the option and declare the fields",
            )
        )
