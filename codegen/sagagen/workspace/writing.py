"""Brings the disk in line with what the contract emits, and touches nothing else.

A file whose bytes are right is left alone. One that is written appears whole or not at all. What an earlier run
wrote and the contract no longer emits is removed, unless someone has edited it since.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sagagen.emit.files import File, Ownership
from sagagen.emit.plan import GENERATED
from sagagen.emit.render import MANIFEST
from sagagen.workspace.tree import TEMPORARY, digest_on_disk, generated_files, recorded, temporary_files


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run did, as paths relative to the project root, each list sorted."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    removed: tuple[str, ...]
    left: tuple[str, ...]
    """Under generated/, but not emitted and not ours to remove."""


def write(root: Path, files: Sequence[File]) -> Changes:
    """Write `files` below `root`. Raises OSError where the disk does not let it; then run it again."""
    for leftover in temporary_files(root):
        leftover.unlink()
    before = recorded(root)
    created, updated = _write_all(root, [file for file in files if file.path != MANIFEST])
    removed = _remove_stale(root, before, {file.path for file in files})
    # Last, so that a run that was interrupted is known by files that differ from it.
    manifest_created, manifest_updated = _write_all(root, [file for file in files if file.path == MANIFEST])
    return Changes(
        created=tuple(sorted(created + manifest_created)),
        updated=tuple(sorted(updated + manifest_updated)),
        removed=tuple(removed),
        left=tuple(sorted(set(generated_files(root)).difference(file.path for file in files))),
    )


def _write_all(root: Path, files: Iterable[File]) -> tuple[list[str], list[str]]:
    """The paths that were created, and those that were updated."""
    created: list[str] = []
    updated: list[str] = []
    for file in files:
        path = root / file.path
        exists = path.exists()
        if exists and (file.ownership is Ownership.YOURS or path.read_bytes() == file.content):
            continue
        _write(path, file.content)
        (updated if exists else created).append(file.path)
    return created, updated


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_stale(root: Path, before: Mapping[str, str], emitted: set[str]) -> list[str]:
    removed: list[str] = []
    for path, sha256 in sorted(before.items()):
        if path not in emitted and digest_on_disk(root / path) == sha256:
            (root / path).unlink()
            _remove_empty_folders(root / path, root / GENERATED)
            removed.append(path)
    return removed


def _remove_empty_folders(removed: Path, top: Path) -> None:
    for folder in removed.parents:
        if folder == top:
            return
        with suppress(OSError):  # not empty
            folder.rmdir()
