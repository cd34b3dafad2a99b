"""The contract that something is added to: its files as text, and on demand what they mean."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sagagen.contract.buf import CONTRACTS
from sagagen.contract.dependencies import is_built_in
from sagagen.contract.loading import SAGA_YAML, Sources, load
from sagagen.contract.proto_files import proto_files
from sagagen.diagnostics import did_you_mean
from sagagen.editing.proto_outline import ProtoOutline, Statement
from sagagen.editing.saga_yaml import SagaYaml
from sagagen.editing.text import CannotAdd
from sagagen.source import Entry, Scalar
from sagagen.source import Mapping as MappingNode
from sagagen.source import Sequence as SequenceNode
from sagagen.workspace.source_text import SourceText, Unreadable

VERSION = re.compile(r"v\d+\w*")


@dataclass(frozen=True)
class Contract:
    root: Path
    yaml: SagaYaml
    protos: tuple[ProtoOutline, ...]
    """The contract's own, sorted by path."""

    @staticmethod
    def read(root: Path) -> "Contract":
        """Raises CannotAdd for a file that can't be added to."""
        protos = [
            ProtoOutline.read(_read(root, path), path)
            for path in sorted(proto_files(root, CONTRACTS))
            if not is_built_in(path.removeprefix(f"{CONTRACTS}/"))
        ]
        return Contract(root, SagaYaml.read(_read(root, SAGA_YAML)), tuple(protos))

    @cached_property
    def sources(self) -> Sources:
        """Raises BufMissing where buf is not installed."""
        return load(self.root)[0]

    @property
    def services(self) -> Mapping[str, tuple[str, ...]]:
        """Services of the mesh -> the proto services that they implement."""
        return {entry.key.text: tuple(_implements(entry.value)) for entry in self.entries("services")}

    def entries(self, key: str) -> tuple[Entry, ...]:
        value = self.yaml.document.get(key)
        return value.entries if isinstance(value, MappingNode) else ()

    def declaring(self, full_name: str) -> tuple[ProtoOutline, Statement] | None:
        """The file that declares a proto service, and where."""
        for proto in self.protos:
            found = proto.service(full_name)
            if found is not None:
                return proto, found
        return None

    @property
    def proto_services(self) -> tuple[str, ...]:
        return tuple(proto.full_name(found) for proto in self.protos for found in proto.services)

    def owner(self, full_name: str) -> str | None:
        """The service of the mesh that implements a proto service."""
        return next((name for name, wanted in self.services.items() if full_name in wanted), None)


def _implements(service: object) -> Iterator[str]:
    names = service.get("implements") if isinstance(service, MappingNode) else None
    items = names.items if isinstance(names, SequenceNode) else ()
    return (item.text for item in items if isinstance(item, Scalar))


def text_of(node: object, key: str) -> str:
    """The text at a key of a mapping; empty if it has none."""
    value = node.get(key) if isinstance(node, MappingNode) else None
    return value.text if isinstance(value, Scalar) else ""


def unknown(what: str, name: str, known: Sequence[str], otherwise: str = "") -> CannotAdd:
    hint = did_you_mean(name, known) or otherwise
    return CannotAdd(f'there is no {what} "{name}"' + (f": {hint}" if hint else ""))


def _read(root: Path, path: str) -> SourceText:
    try:
        return SourceText.read_utf8((root / path).read_bytes())
    except Unreadable as problem:
        raise CannotAdd(f"{path}:{problem.line}: the file {problem}: save it as UTF-8") from None
