"""The compiled protos, linked: descriptors by name, where each thing is declared, and what its comment says."""

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, cast

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodOptions,
    SourceCodeInfo,
)
from google.protobuf.descriptor_pool import DescriptorPool

from sagagen.contract.codes import Code
from sagagen.contract.findings import error
from sagagen.contract.loading import Sources
from sagagen.diagnostics import Report
from sagagen.source import Span

Path: TypeAlias = tuple[int, ...]
"""The path of a declaration in its file: field numbers and indices (see SourceCodeInfo in descriptor.proto)."""

NAME = 1
MESSAGE, ENUM, SERVICE = 4, 5, 6
FIELD, NESTED_MESSAGE, NESTED_ENUM, ONEOF = 2, 3, 4, 8
ENUM_VALUE, METHOD, OPTIONS = 2, 2, 4
HTTP = cast(Any, annotations_pb2.http)
"""Its own stub types it as a plain field descriptor; protobuf's stubs want an extension's."""
HTTP_OPTION: int = HTTP.number
LINT_IGNORE = "buf:lint:ignore"


@dataclass(frozen=True, slots=True)
class Protos:
    """All protos of a contract. Looking up a name that is missing gives None."""

    pool: DescriptorPool
    files: tuple[FileDescriptor, ...]
    """The contract's own, sorted by path."""
    descriptors: bytes
    digests: Mapping[str, str]
    """Digests of all files, own and imported, with their comments, by the name that imports use."""
    docs: Mapping[str, str]
    places: "Places"
    services: Mapping[str, ServiceDescriptor]
    """By full name; only from the contract's own files."""
    is_partial: bool

    def span(self, full_name: str) -> Span:
        """Where something is declared; a placeholder for imported declarations."""
        return self.places.spans.get(full_name, Span("contracts"))

    def http_span(self, method: MethodDescriptor, path: Path) -> Span:
        """The place in an rpc's http option that is nearest to `path`."""
        known = self.places.http_spans.get(method.full_name, {})
        while path and path not in known:
            path = path[:-1]
        return known[path] if path in known else self.span(method.full_name)


def link(sources: Sources, report: Report) -> Protos:
    """Link the image. Reports what google.protobuf cannot load; buf has already found everything else."""
    image = FileDescriptorSet.FromString(sources.image)
    places = Places(sources.image, sources.paths)
    docs: dict[str, str] = {}
    digests: dict[str, str] = {}
    for file in image.file:
        digests[file.name] = hashlib.sha256(file.SerializeToString(deterministic=True)).hexdigest()
        if file.name in sources.paths:
            docs.update(_docs(file))
        file.ClearField("source_code_info")
    pool, loaded = _fill_pool(image, sources.paths, report)
    own = sorted((name for name in sources.paths if name in loaded), key=lambda name: sources.paths[name])
    files = tuple(pool.FindFileByName(name) for name in own)
    return Protos(
        pool=pool,
        files=files,
        descriptors=image.SerializeToString(deterministic=True),
        digests=digests,
        docs=dict(sorted(docs.items())),
        places=places,
        services={each.full_name: each for file in files for each in file.services_by_name.values()},
        is_partial=sources.is_partial or len(own) < len(sources.paths),
    )


@dataclass(frozen=True)
class Places:
    """Where the contract's own files declare things. Computed on demand: only findings and comparisons need it."""

    image: bytes
    paths: Mapping[str, str]
    """As `Sources.image` and `Sources.paths`."""

    @cached_property
    def spans(self) -> dict[str, Span]:
        """Full name -> its name token."""
        return {name: file.at(path) for file in self._files for name, path in _declared(file.proto)}

    @cached_property
    def http_spans(self) -> dict[str, dict[Path, Span]]:
        """Full name of an rpc -> path inside its google.api.http option -> place."""
        http = [(file, file.http()) for file in self._files]
        return {
            name: found[path] for file, found in http for name, path in _declared(file.proto) if path in found
        }

    @cached_property
    def _files(self) -> "list[_Locations]":
        image = FileDescriptorSet.FromString(self.image)
        return [_Locations.of(file, self.paths[file.name]) for file in image.file if file.name in self.paths]


def is_read(method: MethodDescriptor) -> bool:
    return method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS


def is_streaming(method: MethodDescriptor) -> bool:
    return method.client_streaming or method.server_streaming


def rpc_name(method: MethodDescriptor) -> str:
    """As saga.yaml writes it: `shop.checkout.v1.CheckoutService/PlaceOrder`."""
    return f"{method.containing_service.full_name}/{method.name}"


def http_rule(method: MethodDescriptor) -> http_pb2.HttpRule | None:
    options = method.GetOptions()
    return options.Extensions[HTTP] if options.HasExtension(HTTP) else None


def _fill_pool(
    image: FileDescriptorSet, paths: Mapping[str, str], report: Report
) -> tuple[DescriptorPool, frozenset[str]]:
    pool, loaded = DescriptorPool(), set[str]()
    for file in image.file:
        try:
            pool.AddSerializedFile(file.SerializeToString())  # pyright: ignore[reportUnknownMemberType]
            pool.FindFileByName(file.name)
            loaded.add(file.name)
        except (TypeError, KeyError) as cause:
            if all(name in loaded for name in file.dependency):
                _report_unlinkable(Span(paths.get(file.name, file.name)), cause, report)
    return pool, frozenset(loaded)


def _report_unlinkable(at: Span, cause: Exception, report: Report) -> None:
    message = f"google.protobuf cannot load this file: {' '.join(str(cause).split())}"
    hint = "it compiles, but the Python runtime does not support it: avoid the feature that the message names"
    report(error(at, Code.PROTO_CONFLICT, message, hint))


@dataclass(frozen=True, slots=True)
class _Locations:
    """For one file: path of a declaration -> its place."""

    proto: FileDescriptorProto
    path: str
    """Path of the file on disk."""
    known: Mapping[Path, SourceCodeInfo.Location]

    @classmethod
    def of(cls, proto: FileDescriptorProto, path: str) -> "_Locations":
        # Options of one rpc repeat their path; the first place is as good as any.
        locations = reversed(proto.source_code_info.location)
        return cls(proto, path, {tuple(found.path): found for found in locations})

    def at(self, path: Path) -> Span:
        location = self.known.get((*path, NAME)) or self.known.get(path)
        return self._span(location) if location is not None else Span(self.path)

    def http(self) -> dict[Path, dict[Path, Span]]:
        """Path of an rpc -> path inside its google.api.http option -> place."""
        found: dict[Path, dict[Path, Span]] = {}
        for path, location in self.known.items():
            if path[0:1] == (SERVICE,) and path[4:6] == (OPTIONS, HTTP_OPTION):
                found.setdefault(path[:4], {})[path[6:]] = self._span(location)
        return found

    def _span(self, location: SourceCodeInfo.Location) -> Span:
        return Span(self.path, location.span[0] + 1, location.span[1] + 1)


def _docs(file: FileDescriptorProto) -> dict[str, str]:
    """Full name -> the comment at its declaration."""
    comments = {
        tuple(found.path): comment
        for found in reversed(file.source_code_info.location)
        if (comment := found.leading_comments or found.trailing_comments)
    }
    said = ((name, _text(comments[path])) for name, path in _declared(file) if path in comments)
    return {name: text for name, text in said if text}


def _text(comment: str) -> str:
    lines = (line.rstrip() for line in inspect.cleandoc(comment).splitlines() if LINT_IGNORE not in line)
    return "\n".join(lines).strip()


def _declared(file: FileDescriptorProto) -> Iterator[tuple[str, Path]]:
    """Everything that has a name, and the path of its declaration."""
    scope = f"{file.package}." if file.package else ""
    yield from _messages(scope, file.message_type, (MESSAGE,))
    yield from _enums(scope, file.enum_type, (ENUM,))
    for index, service in enumerate(file.service):
        yield f"{scope}{service.name}", (SERVICE, index)
        for position, method in enumerate(service.method):
            yield f"{scope}{service.name}.{method.name}", (SERVICE, index, METHOD, position)


def _messages(scope: str, messages: Sequence[DescriptorProto], path: Path) -> Iterator[tuple[str, Path]]:
    for index, message in enumerate(messages):
        name, here = f"{scope}{message.name}", (*path, index)
        yield name, here
        yield from ((f"{name}.{field.name}", (*here, FIELD, i)) for i, field in enumerate(message.field))
        yield from ((f"{name}.{oneof.name}", (*here, ONEOF, i)) for i, oneof in enumerate(message.oneof_decl))
        yield from _messages(f"{name}.", message.nested_type, (*here, NESTED_MESSAGE))
        yield from _enums(f"{name}.", message.enum_type, (*here, NESTED_ENUM))


def _enums(scope: str, enums: Sequence[EnumDescriptorProto], path: Path) -> Iterator[tuple[str, Path]]:
    """Values appear twice: beside their enum, as protobuf scopes them, and below it, as people name them."""
    for index, enum in enumerate(enums):
        name, here = f"{scope}{enum.name}", (*path, index)
        yield name, here
        for position, value in enumerate(enum.value):
            yield f"{scope}{value.name}", (*here, ENUM_VALUE, position)
            yield f"{name}.{value.name}", (*here, ENUM_VALUE, position)
