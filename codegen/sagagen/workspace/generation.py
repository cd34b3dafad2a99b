"""From a project's folder to everything that a run would change in it. Reads the disk, writes nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sagagen.cache import Cache
from sagagen.contract import Loading, read_loaded
from sagagen.contract.model import Mesh
from sagagen.diagnostics import Diagnostic, has_errors
from sagagen.emit.files import File, Ownership
from sagagen.emit.handler_contract import handler_contracts
from sagagen.emit.paths import GATEWAY, HANDLERS
from sagagen.emit.render import emit
from sagagen.workspace.comparison import Difference, Kind, compare
from sagagen.workspace.handlers_in_sync import synced
from sagagen.workspace.in_the_way import in_the_way, left_if_in_the_way
from sagagen.workspace.renamed_fields import RenamedFields
from sagagen.workspace.snapshot import Snapshot
from sagagen.workspace.synced import Synced
from sagagen.workspace.writing import Changes, write

Progress = Callable[[str], None]
"""Called with what is about to be done."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What the contract emits, and what it asks of the existing handlers."""

    root: Path
    diagnostics: tuple[Diagnostic, ...]
    """Findings in the contract."""
    mesh: Mesh | None = None
    """None if the contract has errors; then there are no files either."""
    files: tuple[File, ...] = ()
    handlers: tuple[Synced, ...] = ()
    before: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """The contents of the handler files."""
    disk: Snapshot = field(default_factory=Snapshot)
    """Known digests of what was there when the run began."""
    others: tuple[Diagnostic, ...] = ()
    """Findings about what is in the place of a handler file."""

    @property
    def findings(self) -> tuple[Diagnostic, ...]:
        """Findings in the handlers."""
        return (*self.others, *(finding for handler in self.handlers for finding in handler.findings))

    @property
    def behind(self) -> tuple[Synced, ...]:
        """The handlers that a run would edit."""
        return tuple(one for one in self.handlers if one.content != self.before[one.path])

    def differences(self) -> tuple[Difference, ...]:
        return compare(self.root, self.files, self.handlers, self.disk)

    def edited(self) -> tuple[str, ...]:
        """Files that a run would overwrite though they were edited by hand."""
        return tuple(one.path for one in self.differences() if one.kind is Kind.EDITED)

    def write(self) -> Changes:
        """Raises OSError if a file can't be written."""
        return write(self.root, self.files, self.behind, self.before, self.disk)


def generation(started: Loading, cache: Cache, disk: Snapshot, progress: Progress) -> Generation:
    """Make the files of a project whose contract is being read.

    What an earlier run made from the same input is taken from the cache. `disk`: known digests of what was there when
    the run began, by path. A file that changes in the meantime is left to the next run.
    """
    root = started.root
    progress("reading the contract")
    mesh, diagnostics = read_loaded(started)
    if mesh is None or has_errors(diagnostics):
        return Generation(root, diagnostics)
    progress(f"making the files of {mesh.project}")
    files = emit(mesh, _yours(root), cache)
    progress("reading the handlers")
    contracts = handler_contracts(mesh)
    paths = [contract.path for contract in contracts]
    before = {path: (root / path).read_bytes() for path in paths if (root / path).is_file()}
    created = {file.path: file.content for file in files if file.ownership is Ownership.YOURS}
    handlers = synced(contracts, before, created, cache, RenamedFields(root, mesh))
    handlers = tuple(left_if_in_the_way(root, handler, before[handler.path]) for handler in handlers)
    others = tuple(in_the_way(root, contracts))
    return Generation(root, diagnostics, mesh, files, handlers, before, disk, others)


def _yours(root: Path) -> frozenset[str]:
    """The user's files that exist."""
    folders = (root / HANDLERS, root / GATEWAY)
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return frozenset(path.relative_to(root).as_posix() for path in paths)
