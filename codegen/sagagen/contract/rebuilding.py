"""An image after some files have changed: which of them buf must compile and lint again, and the new image.

Compiling a file reads it and all that it imports, so a change reaches those that import it, directly or through
others, and no other file. The linter also compares files with one another: see `judged_again`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

_Group = tuple[str, str]
"""Something that the linter compares between files: its kind, and its name."""


def reached(image: FileDescriptorSet, changed: Iterable[str]) -> frozenset[str]:
    """The changed files and those of the image that import them, by the names that imports use."""
    importers: defaultdict[str, list[str]] = defaultdict(list)
    for file in image.file:
        for imported in file.dependency:
            importers[imported].append(file.name)
    return _with_all_behind(changed, lambda name: importers[name])


def merged(
    before: FileDescriptorSet, compiled: FileDescriptorSet, names: Iterable[str]
) -> FileDescriptorSet | None:
    """The image of the files `names`: those that were compiled again, and the others as they were before.

    In buf's order: imports before the files that import them, otherwise by name. None if a file is missing, or two
    that were not compiled together declare the same name.
    """
    files = {file.name: file for image in (before, compiled) for file in image.file}
    try:
        image = FileDescriptorSet(file=_ordered(files, names))
    except KeyError:
        return None
    return None if _has_twins(image) else image


def judged_again(
    images: Iterable[FileDescriptorSet], names: Set[str], changed: Iterable[str]
) -> frozenset[str]:
    """The files in which the linter may now find something else, and all files that it compares them with.

    `images`: the old and the new one; `names`: all files of the contract in them. The STANDARD rules compare files of
    one package, files of one folder, rpcs that take or return the same message, and a package with those that it
    imports, directly or through others, if that may lead back to it.
    """
    members: defaultdict[_Group, set[str]] = defaultdict(set)
    reaches: defaultdict[str, set[_Group]] = defaultdict(set)
    for image in images:
        packages = {file.name: file.package for file in image.file}
        for file in image.file:
            if file.name in names:
                groups = _groups(file)
                reaches[file.name].update(groups, (("package", packages[each]) for each in file.dependency))
                for group in groups:
                    members[group].add(file.name)
    # A group that was entered before has no new files.
    compared = _with_all_behind(
        changed, lambda name: [each for group in reaches[name] for each in members.pop(group, ())]
    )
    return compared & names


def _with_all_behind(names: Iterable[str], next_to: Callable[[str], Iterable[str]]) -> frozenset[str]:
    """`names`, the files that `next_to` leads to from them, and so on."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += next_to(name)
    return frozenset(found)


def _groups(file: FileDescriptorProto) -> list[_Group]:
    used = {
        name
        for service in file.service
        for method in service.method
        for name in (method.input_type, method.output_type)
    }
    folder = file.name.rpartition("/")[0]
    return [("package", file.package), ("folder", folder), *(("message", name) for name in used)]


def _has_twins(image: FileDescriptorSet) -> bool:
    """Whether a name, or the number of an extension, is taken twice. Packages may share a name."""
    packages = {parent for file in image.file for parent in _with_parents(file.package)}
    taken = [name for file in image.file for name in _declared(file)]
    numbers = [number for file in image.file for number in _extended(file)]
    return len({*taken, *packages}) < len(taken) + len(packages) or len(set(numbers)) < len(numbers)


def _with_parents(package: str) -> Iterator[str]:
    parts = package.split(".")
    return (".".join(parts[:n]) for n in range(1, len(parts) + 1))


def _declared(file: FileDescriptorProto) -> Iterator[str]:
    """The names in the file's package; all other names are below one of its messages."""
    scope = f"{file.package}." if file.package else ""
    for each in (*file.message_type, *file.enum_type, *file.service, *file.extension):
        yield f"{scope}{each.name}"
    for enum in file.enum_type:
        yield from (f"{scope}{value.name}" for value in enum.value)


def _extended(file: FileDescriptorProto) -> Iterator[tuple[str, int]]:
    yield from ((each.extendee, each.number) for each in file.extension)
    yield from _extended_within(file.message_type)


def _extended_within(messages: Sequence[DescriptorProto]) -> Iterator[tuple[str, int]]:
    for message in messages:
        yield from ((each.extendee, each.number) for each in message.extension)
        yield from _extended_within(message.nested_type)


def _ordered(files: Mapping[str, FileDescriptorProto], names: Iterable[str]) -> Iterator[FileDescriptorProto]:
    done: set[str] = set()
    for root in sorted(names):
        waiting = [(root, iter(files[root].dependency))]
        while waiting:
            name, imports = waiting[-1]
            following = next((each for each in imports if each not in done), None)
            if following is not None:
                waiting.append((following, iter(files[following].dependency)))
                continue
            waiting.pop()
            if name not in done:
                done.add(name)
                yield files[name]
