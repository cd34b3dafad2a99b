"""Everything that is read from disk: saga.yaml, and the protos through buf. The stages that follow are pure."""

import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from sagagen.contract import buf
from sagagen.contract.built import Built, Digests
from sagagen.contract.codes import Code
from sagagen.contract.compiling import SAGA_YAML, Compiling, Known, NoProtos, ProtoLoading, Rest
from sagagen.contract.dependencies import is_built_in
from sagagen.contract.findings import error
from sagagen.contract.proto_files import proto_files
from sagagen.diagnostics import Diagnostic, Report
from sagagen.source import Span

HANDLERS = "handlers"
POSTGRES_SQL = ".postgres.sql"
"""Ends the name of a service's SQL for PostgreSQL, in the folder of handlers."""
KEPT = f"{buf.CONTRACTS}/sagas"
"""Where older versions of sagas are kept while some of their instances are open."""


@dataclass(frozen=True, slots=True)
class Sources:
    """A project's contract as read from disk."""

    saga_yaml: str | None
    """None if it could not be read, which is then reported."""
    kept: Mapping[str, str]
    """Older versions of sagas: path relative to the project root -> text."""
    image: bytes
    """Serialized FileDescriptorSet of all protos and their imports, in dependency order, with source info."""
    paths: Mapping[str, str]
    """The contract's own files: name in the image -> path relative to the project root."""
    is_partial: bool
    """Whether protos that do not compile are missing here: a name that cannot be found may be in them."""
    on_postgres: frozenset[str] = frozenset()
    """Modules of services that have their SQL for PostgreSQL, `handlers/<module>.postgres.sql`: no other file of
    handlers matters to a contract."""


def load(root: Path) -> tuple[Sources, tuple[Diagnostic, ...]]:
    """Read the contract of the project at `root`. Raises BufMissing if buf is not installed."""
    with loading(root) as started:
        sources, found = started.result()
        return sources, (*found, *started.remarks())


@dataclass(frozen=True)
class Loading:
    """A contract that is being read. Ask for its parts in the order in which they are listed."""

    root: Path
    protos: ProtoLoading

    @cached_property
    def saga_yaml(self) -> tuple[str | None, tuple[Diagnostic, ...]]:
        """Its text, read once, or why it can't be read. Never waits."""
        found: list[Diagnostic] = []
        return _read_text(self.root, SAGA_YAML, found.append), tuple(found)

    def result(self) -> tuple[Sources, tuple[Diagnostic, ...]]:
        """What was read; reports what is wrong with it."""
        text, unreadable = self.saga_yaml
        found = list(unreadable)
        image, is_partial = self.protos.image(found.append)
        kept = _read_kept(self.root, found.append)
        own = _own_files(self.root, image)
        return Sources(
            text, kept, image.SerializeToString(), own, is_partial, _on_postgres(self.root)
        ), tuple(found)

    def remarks(self) -> tuple[Diagnostic, ...]:
        """The linter's findings in the protos, which take longest."""
        return self.protos.remarks()

    def built(self, now: Digests) -> Built | None:
        """What buf made of the protos, for a later run. None if they do not compile, or nothing has changed."""
        return self.protos.built(now)


@contextmanager
def loading(root: Path, before: Built | None = None, now: Digests | None = None) -> Generator[Loading]:
    """Begin to read the contract of the project at `root`. Raises BufMissing if buf is not installed.

    `before`: what buf made of the protos in an earlier run. Protos that are the same `now` need no buf.
    """
    if not any(proto_files(root, buf.CONTRACTS)):
        yield Loading(root, NoProtos())
    elif before and now and not before.changed(now):
        yield Loading(root, Known(before))
    else:
        with (
            tempfile.TemporaryDirectory(prefix="sagagen-image-") as folder,
            buf.open_workspace(root) as workspace,
        ):
            rest = Rest.of(before, now) if before and now else None
            compiling = Compiling(root, workspace, Path(folder) / "image.binpb", rest)
            try:
                yield Loading(root, compiling)
            finally:
                compiling.stop()


def _read_kept(root: Path, report: Report) -> dict[str, str]:
    folder = root / KEPT
    paths = sorted(f"{KEPT}/{path.name}" for path in folder.glob("*.y*ml")) if folder.is_dir() else []
    texts = {path: _read_text(root, path, report) for path in paths}
    return {path: text for path, text in texts.items() if text is not None}


def _on_postgres(root: Path) -> frozenset[str]:
    return frozenset(
        path.name.removesuffix(POSTGRES_SQL) for path in (root / HANDLERS).glob(f"*{POSTGRES_SQL}")
    )


def _read_text(root: Path, path: str, report: Report) -> str | None:
    try:
        return (root / path).read_text("utf-8-sig")
    except FileNotFoundError:
        hint = "write it, or name the project with --project DIR"
        report(error(Span(path), Code.NO_CONTRACT, f"{path} does not exist", hint))
    except UnicodeDecodeError as problem:
        before = bytes(problem.object[: problem.start]).decode("utf-8-sig")
        at = Span(path, before.count("\n") + 1, len(before) - before.rfind("\n"))
        report(error(at, Code.NOT_UTF8, f"the file is not UTF-8: {problem.reason}", "save it as UTF-8"))
    return None


def _own_files(root: Path, image: FileDescriptorSet) -> dict[str, str]:
    names = [file.name for file in image.file if not is_built_in(file.name)]
    paths = {name: f"{buf.CONTRACTS}/{name}" for name in names}
    return {name: path for name, path in paths.items() if (root / path).is_file()}
