"""How the files on disk differ from what the contract emits. Writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sagagen.emit.files import File, Ownership
from sagagen.emit.paths import MANIFEST
from sagagen.workspace.synced import Synced
from sagagen.workspace.tree import digest, generated_files, recorded


class Kind(StrEnum):
    MISSING = "missing"
    CHANGED = "changed"
    """Emitted from a different contract, or by a different version of sagagen."""
    EDITED = "edited"
    """Under generated/, and edited by hand since the generator wrote it; a run would lose the edit."""
    STALE = "stale"
    """Emitted earlier, but no longer by this contract."""
    EXTRA = "extra"
    """Under generated/, but the generator never wrote it, or it was edited since."""
    BEHIND = "behind"
    """A handler file without a method of the contract, or with the old name of a type."""


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    path: str
    kind: Kind
    before: bytes | None = field(default=None, compare=False, repr=False)
    """What is on disk; None if there is no such file."""
    after: bytes | None = field(default=None, compare=False, repr=False)
    """What a run would leave there; None if it would remove the file."""


def compare(
    root: Path,
    files: Sequence[File],
    handlers: Sequence[Synced] = (),
    disk: Mapping[str, str] | None = None,
) -> tuple[Difference, ...]:
    """Every file that `write` would touch, or would leave though it does not belong there; sorted by path.

    `disk`: known digests of what is there, by path. Files without one are read.
    """
    known = disk or {}
    before = recorded(root)
    emitted = {file.path for file in files}
    others = [path for path in generated_files(root) if path not in emitted]
    found = [
        *(_difference(root, file, before) for file in files if not file.is_in(known)),
        *(_other(root, path, before) for path in others),
        *_behind(root, handlers),
    ]
    return tuple(sorted(difference for difference in found if difference is not None))


def _difference(root: Path, file: File, before: Mapping[str, frozenset[str]]) -> Difference | None:
    path = root / file.path
    if not path.is_file():
        return Difference(file.path, Kind.MISSING, None, file.content)
    if file.ownership is Ownership.YOURS:
        return None
    content = path.read_bytes()
    if content == file.content:
        return None
    is_ours = file.path == MANIFEST or digest(content) in before.get(file.path, frozenset())
    return Difference(file.path, Kind.CHANGED if is_ours else Kind.EDITED, content, file.content)


def _other(root: Path, path: str, before: Mapping[str, frozenset[str]]) -> Difference:
    content = (root / path).read_bytes()
    if digest(content) in before.get(path, frozenset()):
        return Difference(path, Kind.STALE, content, None)
    return Difference(path, Kind.EXTRA, content, content)


def _behind(root: Path, handlers: Sequence[Synced]) -> Iterator[Difference]:
    for handler in handlers:
        content = (root / handler.path).read_bytes()
        if content != handler.content:
            yield Difference(handler.path, Kind.BEHIND, content, handler.content)
