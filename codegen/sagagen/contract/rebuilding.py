"""An image of which some files changed: which of them buf must compile again, and what the image is then.

Compiling a file reads it and all that it imports, so a change reaches those that import it, directly or through
others, and nobody else. What two files must agree on although neither imports the other (that no name is declared
twice) is for the linter to find, which reads them all.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet


def reached(image: FileDescriptorSet, changed: Iterable[str]) -> frozenset[str]:
    """The changed files and those of the image that import them, by the names that they are imported by."""
    importers: defaultdict[str, list[str]] = defaultdict(list)
    for file in image.file:
        for imported in file.dependency:
            importers[imported].append(file.name)
    found: set[str] = set()
    waiting = list(changed)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += importers[name]
    return frozenset(found)


def merged(
    before: FileDescriptorSet, compiled: FileDescriptorSet, names: Iterable[str]
) -> FileDescriptorSet | None:
    """The image of the files `names`: those that were compiled again, and the others as they were before.

    In the order in which buf writes it: imports before who imports them, else by name. None if a file is missing.
    """
    files = {file.name: file for image in (before, compiled) for file in image.file}
    try:
        return FileDescriptorSet(file=_ordered(files, names))
    except KeyError:
        return None


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
