"""Digests of the parts of the contract that a file about one saga, service or package depends on.

A package's messages depend on its protos, with comments, and on the types that these import. A file about a saga or
service depends on saga.yaml, on older versions of sagas, and on the protos of its rpcs with everything that those
import. Of the sagas in saga.yaml, a file depends only on its own, and a service's file on none; places in saga.yaml
never matter. Python names are chosen for a whole package, so a package counts as a whole. The digest may cover more
than the file needs, but never less: if the digest is unchanged, so is the file.
"""

from collections.abc import Iterable
from functools import cached_property

from google.protobuf.descriptor import FileDescriptor

from sagagen.cache import digest_of
from sagagen.contract.model import Mesh, Saga, Service
from sagagen.emit.saga_tree import rpcs


class Parts:
    """The parts of one mesh."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._known: dict[str, str] = {}

    def of_saga(self, saga: Saga) -> str:
        said = self._mesh.saga_digests.get(saga.name, "")  # covers the newest too: a kept version links to it
        return digest_of(said, self._of(rpc.containing_service.file for rpc in rpcs(saga)))

    def of_service(self, service: Service) -> str:
        return self._of(proto.file for proto in service.implements)

    def of_package(self, package: str) -> str:
        """For the messages of a Python package."""
        imported = sorted(self._reached(package) - {package})
        return digest_of(self._own[package], *(self._types[one] for one in imported))

    def _of(self, files: Iterable[FileDescriptor]) -> str:
        packages = sorted({self._package(file) for file in files})
        return digest_of(self._everywhere, *(self._with_imports(package) for package in packages))

    def _with_imports(self, package: str) -> str:
        """Digest of a Python package and all others that its files import, directly or indirectly."""
        if package not in self._known:
            reached = sorted(self._reached(package))
            self._known[package] = digest_of(*(self._own[one] for one in reached))
        return self._known[package]

    def _reached(self, package: str) -> set[str]:
        """A Python package, and those that its files import, directly or indirectly."""
        reached = {package}
        waiting = [package]
        while waiting:
            new = self._imported[waiting.pop()] - reached
            reached |= new
            waiting += new
        return reached

    def _package(self, file: FileDescriptor) -> str:
        return self._mesh.names.packages[file.package]

    @cached_property
    def _everywhere(self) -> str:
        """What any file may depend on: everything outside packages of messages, and the names of the packages."""
        mesh, named = self._mesh, self._named
        others = sorted((name, digest) for name, digest in mesh.digests.items() if name not in named)
        return digest_of(repr(others), repr(sorted(mesh.names.packages.items())))

    @cached_property
    def _named(self) -> frozenset[str]:
        return frozenset(file.name for file in self._mesh.names.files)

    @cached_property
    def _own(self) -> dict[str, str]:
        """For each Python package, the names and digests of its files, and whether they are the project's own."""
        mesh = self._mesh
        return {
            package: repr(
                (
                    package,
                    sorted(
                        (file.name, file.name in mesh.own_files, mesh.digests[file.name]) for file in files
                    ),
                )
            )
            for package, files in self._files.items()
        }

    @cached_property
    def _types(self) -> dict[str, str]:
        """For each Python package, what importing files depend on: everything but comments."""
        return {
            package: digest_of(package, *(file.serialized_pb for file in files))
            for package, files in self._files.items()
        }

    @cached_property
    def _imported(self) -> dict[str, set[str]]:
        """For each Python package, those that its files import."""
        named = self._named
        return {
            package: {
                self._package(used) for file in files for used in file.dependencies if used.name in named
            }
            for package, files in self._files.items()
        }

    @cached_property
    def _files(self) -> dict[str, list[FileDescriptor]]:
        found: dict[str, list[FileDescriptor]] = {}
        for file in self._mesh.names.files:
            found.setdefault(self._package(file), []).append(file)
        return found
