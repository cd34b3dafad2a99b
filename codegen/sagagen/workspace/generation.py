"""From a project's folder to all that a run would change in it. Reads the disk, writes nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sagagen.contract import Loading, read_loaded
from sagagen.contract.model import Mesh
from sagagen.diagnostics import Diagnostic, has_errors
from sagagen.emit.files import File
from sagagen.emit.handler_contract import HandlerContract, handler_contracts
from sagagen.emit.paths import GATEWAY, HANDLERS
from sagagen.emit.render import emitting
from sagagen.emit.reuse import NOTHING
from sagagen.workspace import handlers_in_sync
from sagagen.workspace.comparison import Difference, Kind, compare
from sagagen.workspace.earlier import earlier, remember
from sagagen.workspace.no_change import Snapshot
from sagagen.workspace.synced import Synced
from sagagen.workspace.writing import Changes, write

Progress = Callable[[str], None]
"""Told what is being done, before it is."""


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
    contracts: tuple[HandlerContract, ...] = ()
    """What is asked of the handler files."""
    asked: Mapping[str, str] = field(default_factory=dict[str, str])
    """By digest, of those that are there (handlers_in_sync.py)."""
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
        changes = write(self.root, self.files, self.behind, self.before, self.disk)
        handlers_in_sync.remember(self.root, self._in_sync(changes))
        if self.disk:
            remember(self.root, self.disk, self.files)
        return changes

    def _in_sync(self, changes: Changes) -> list[str]:
        """Digests of the handler files that need nothing now: what was found so, and what this run created."""
        found = [one for one in self.handlers if not one.findings and one.content == self.before[one.path]]
        created = {file.path: file.content for file in self.files if file.path in changes.created}
        of_created = handlers_in_sync.digests(created, self.contracts)
        return [*(self.asked[one.path] for one in found), *of_created.values()]


def generation(
    started: Loading, *, reuse: bool, progress: Progress, disk: Snapshot | None = None
) -> Generation:
    """Make the files of a project whose contract is being read.

    With `reuse`, what the last run made of the same input is taken from the disk, if it is there untouched. `disk`:
    digests of what was there when the run began, by path. A file that somebody changes meanwhile is for the next run.
    """
    root = started.root
    progress("reading the contract")
    mesh, diagnostics = read_loaded(started)
    if mesh is None or has_errors(diagnostics):
        return Generation(root, diagnostics)
    progress(f"making the files of {mesh.project}")
    with emitting(mesh, _yours(root), earlier(root, disk) if reuse else NOTHING) as files:
        contracts = handler_contracts(mesh)
        paths = [contract.path for contract in contracts]
        before = {path: (root / path).read_bytes() for path in paths if (root / path).is_file()}
        asked = handlers_in_sync.digests(before, contracts)
        made = files()
    progress("reading the handlers")
    known = handlers_in_sync.known(root) if reuse else frozenset[str]()
    handlers = tuple(
        Synced.untouched(contract.path, before[contract.path])
        if asked[contract.path] in known
        else _synced(before[contract.path], contract)
        for contract in contracts
        if contract.path in before
    )
    return Generation(root, diagnostics, mesh, made, handlers, before, contracts, asked, disk or {})


def _synced(content: bytes, contract: HandlerContract) -> Synced:
    from sagagen.workspace.handler_sync import sync_handler  # libcst takes long to import

    return sync_handler(content, contract)


def _yours(root: Path) -> frozenset[str]:
    """The user's files that there are."""
    folders = (root / HANDLERS, root / GATEWAY)
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return frozenset(path.relative_to(root).as_posix() for path in paths)
