"""How the disk differs from what the contract emits. Writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sagagen.emit.files import File, Ownership
from sagagen.workspace.tree import generated_files, recorded


class Kind(StrEnum):
    MISSING = "missing"
    CHANGED = "changed"
    """Edited by hand, or emitted from another contract or by another version."""
    STALE = "stale"
    """Emitted earlier, and by this contract no longer."""
    EXTRA = "extra"
    """Under generated/, but the generator never wrote it."""


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    path: str
    kind: Kind


def compare(root: Path, files: Sequence[File]) -> tuple[Difference, ...]:
    """Every file that `write` would touch, or would leave although it does not belong there; sorted by path."""
    before = recorded(root)
    emitted = {file.path for file in files}
    others = [path for path in generated_files(root) if path not in emitted]
    return tuple(
        sorted(
            [
                *(Difference(file.path, kind) for file in files if (kind := _difference(root, file))),
                *(Difference(path, Kind.STALE if path in before else Kind.EXTRA) for path in others),
            ]
        )
    )


def _difference(root: Path, file: File) -> Kind | None:
    path = root / file.path
    if not path.is_file():
        return Kind.MISSING
    if file.ownership is Ownership.GENERATED and path.read_bytes() != file.content:
        return Kind.CHANGED
    return None
