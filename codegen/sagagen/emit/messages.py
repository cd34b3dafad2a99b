"""The contract's messages and enums as betterproto2 classes, one module for each proto package."""

import functools
import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import dropwhile
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from sagagen.contract.model import Mesh
from sagagen.emit.compiler_process import compiler
from sagagen.emit.header import header, sources_of
from sagagen.emit.renaming import Docs, renamed
from sagagen.python_names import PythonNames

_CORES = os.cpu_count() or 1
_WORTH_A_PROCESS = 6
"""The number of packages that compile in the time that one more compiler takes to start."""


@dataclass(frozen=True, slots=True)
class MessageModuleView:
    """A module of messages: the compiler's own header replaced by ours."""

    header: str
    has_untyped_methods: bool
    """Whether betterproto2 has copied methods into well-known types, whose parameters it does not all annotate."""
    lines: tuple[str, ...]


@dataclass(frozen=True)
class MessageModules:
    """The modules of one mesh, by dotted Python package below `generated.pb`."""

    mesh: Mesh

    @cached_property
    def packages(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.mesh.names.packages.values())))

    def begin(self, packages: Collection[str]) -> None:
        """Start to compile these, unless it has begun; no others will be needed. Other processes do the work."""
        if not self._running:
            for shard in _shards(sorted(packages)):
                self._running.update(
                    dict.fromkeys(shard, self._compilers.submit(self._compilation.run, shard))
                )

    def view(self, package: str) -> MessageModuleView:
        """Waits for its compiler, which `begin` has started."""
        source = _on_our_base(self._running[package].result()[package])
        return MessageModuleView(
            header=self._header(package),
            has_untyped_methods=package == "google.protobuf",
            lines=tuple(dropwhile(lambda line: line.startswith("#"), source.splitlines())),
        )

    @cached_property
    def _compilation(self) -> "Compilation":
        return Compilation(self.mesh.names, self.mesh.docs)

    @cached_property
    def _running(self) -> dict[str, "Future[dict[str, str]]"]:
        """By package; packages that are compiled together share one."""
        return {}

    @cached_property
    def _compilers(self) -> ThreadPoolExecutor:
        """Threads that wait for processes."""
        return ThreadPoolExecutor(_CORES)

    def _header(self, package: str) -> str:
        sources = sources_of(self.mesh, self._compilation.files(package), with_sagas=False)
        return header(sources, by=" with betterproto2")


@dataclass(frozen=True)
class Compilation:
    """The compiler's request for a contract, or for some of its packages."""

    names: PythonNames
    docs: Docs

    def renamed(self, name: str) -> FileDescriptorProto:
        """A file with Python's names."""
        if name not in self._renamed:
            self._renamed[name] = renamed(self._by_name[name], self.names, self.docs)
        return self._renamed[name]

    @cached_property
    def _renamed(self) -> dict[str, FileDescriptorProto]:
        return {}

    @cached_property
    def _by_name(self) -> dict[str, FileDescriptor]:
        return {file.name: file for file in self.names.files}

    def files(self, package: str) -> tuple[FileDescriptor, ...]:
        return self._by_package[package]

    @cached_property
    def _by_package(self) -> dict[str, tuple[FileDescriptor, ...]]:
        found: dict[str, list[FileDescriptor]] = {}
        for file in self.names.files:
            found.setdefault(self.names.packages[file.package], []).append(file)
        return {package: tuple(files) for package, files in found.items()}

    def used(self, files: Iterable[FileDescriptor]) -> list[str]:
        """The files that `files` import, directly or indirectly, and whose messages are generated; sorted."""
        found: set[str] = set()
        waiting = [imported for file in files for imported in file.dependencies]
        while waiting:
            file = waiting.pop()
            if file.name not in found:
                found.add(file.name)
                waiting += file.dependencies
        return sorted(found & self._by_name.keys())

    def run(self, packages: Collection[str]) -> dict[str, str]:
        """Package -> source of its module."""
        files = [file for package in sorted(packages) for file in self.files(package)]
        own = {file.name for file in files}
        request = CodeGeneratorRequest(
            file_to_generate=sorted(own),
            proto_file=[self.renamed(name) for name in sorted(own.union(self.used(files)))],
            parameter="client_generation=none,server_generation=none",
        )
        sources = _compile(request.SerializeToString(deterministic=True))
        return {
            package: sources[f"{package.replace('.', '/')}/__init__.py".lstrip("/")]
            for package in sorted(packages)
        }


def compile_messages(names: PythonNames, docs: Docs) -> dict[str, str]:
    """Dotted Python package below `generated.pb` -> source of its module, for all of them."""
    return Compilation(names, docs).run(set(names.packages.values()))


def _shards(packages: Sequence[str]) -> Iterator[Sequence[str]]:
    """One for each core, but fewer for few packages: each is a process that takes a while to start."""
    count = min(_CORES, math.ceil(len(packages) / _WORTH_A_PROCESS))
    return (packages[n::count] for n in range(count))


def _on_our_base(source: str) -> str:
    """Its classes, if it has any, with the runtime's base class, which uses google.protobuf for the wire."""
    if (based := source.replace("(betterproto2.Message):", "(wire.Message):")) == source:
        return source
    return based.replace(
        "\nimport betterproto2\n", "\nimport betterproto2\n\nfrom sagagen.runtime import wire\n", 1
    )


@functools.lru_cache(maxsize=8)
def _compile(request: bytes) -> dict[str, str]:
    """The compiler's answer: path -> source."""
    response = CodeGeneratorResponse.FromString(compiler().answer(request))
    return {Path(file.name).as_posix(): file.content for file in response.file}
