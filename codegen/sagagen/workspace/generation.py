"""From a project's folder to all that a run would change in it. Reads the disk, writes nothing."""

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
from sagagen.workspace.snapshot import Snapshot
from sagagen.workspace.synced import Synced
from sagagen.workspace.writing import Changes, write

Progress = Callable[[str], None]
"""Reports what is about to be done."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What the contract emits, and what it asks of the handlers that are there."""

    root: Path
    diagnostics: tuple[Diagnostic, ...]
    """Of the contract."""
    mesh: Mesh | None = None
    """None if the contract is in error; then there are no files either."""
    files: tuple[File, ...] = ()
    handlers: tuple[Synced, ...] = ()
    before: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """What the handler files say."""
    disk: Snapshot = field(default_factory=Snapshot)
    """What there was when the run began, as far as it is known."""

    @property
    def findings(self) -> tuple[Diagnostic, ...]:
        """Of the handlers."""
        return tuple(finding for handler in self.handlers for finding in handler.findings)

    @property
    def behind(self) -> tuple[Synced, ...]:
        """The handlers that a run would edit."""
        return tuple(one for one in self.handlers if one.content != self.before[one.path])

    def differences(self) -> tuple[Difference, ...]:
        return compare(self.root, self.files, self.handlers, self.disk)

    def edited(self) -> tuple[str, ...]:
        """Files that a run would overwrite although somebody edited them."""
        return tuple(one.path for one in self.differences() if one.kind is Kind.EDITED)

    def write(self) -> Changes:
        """Raises OSError where the disk does not let it."""
        return write(self.root, self.files, self.behind, self.before, self.disk)


def generation(started: Loading, cache: Cache, disk: Snapshot, progress: Progress) -> Generation:
    """Make the files of a project whose contract is being read.

    What an earlier run made of the same input is taken from the cache. `disk`: digests of what was there when the run
    began, by path, as far as they are known. A file that somebody changes meanwhile is for the next run.
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
    handlers = synced(contracts, before, created, cache)
    return Generation(root, diagnostics, mesh, files, handlers, before, disk)


def _yours(root: Path) -> frozenset[str]:
    """The user's files that there are."""
    folders = (root / HANDLERS, root / GATEWAY)
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return frozenset(path.relative_to(root).as_posix() for path in paths)
