"""Brings the files in line with what the contract emits, and touches nothing else.

A file whose bytes are right is left alone. A written file appears whole or not at all. A file that an earlier run
wrote and the contract no longer emits is removed, unless it was edited since.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sagagen.emit.files import File, Ownership
from sagagen.emit.paths import GENERATED, MANIFEST
from sagagen.workspace.synced import Synced
from sagagen.workspace.tree import (
    NEXT_MANIFEST,
    TEMPORARY,
    digest_on_disk,
    generated_files,
    recorded,
    temporary_files,
)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run did, as paths relative to the project root, each list sorted."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    removed: tuple[str, ...]
    left: tuple[str, ...]
    """Under generated/, but neither emitted nor ours to remove."""
    synced: tuple[Synced, ...] = ()
    """Handler files that were brought in line."""
    busy: tuple[str, ...] = ()
    """Handler files that were saved during the run: they are left to the next run."""


def write(
    root: Path,
    files: Sequence[File],
    handlers: Sequence[Synced] = (),
    before: Mapping[str, bytes] | None = None,
    disk: Mapping[str, str] | None = None,
) -> Changes:
    """Write `files` below `root`. Raises OSError if a file can't be written; then run it again.

    `before`: the contents that `handlers` were made from. A handler file that has changed since is left alone. `disk`:
    known digests of what is there, by path. Files without one are read.
    """
    same = disk or {}
    for leftover in temporary_files(root):
        leftover.unlink()
    known = recorded(root)
    manifests = [file for file in files if file.path == MANIFEST]
    # First, so that the files of an interrupted run are still known to be ours; it counts once everything is written.
    for manifest in manifests:
        (root / NEXT_MANIFEST).parent.mkdir(parents=True, exist_ok=True)
        (root / NEXT_MANIFEST).write_bytes(manifest.content)
    created, updated = _write_all(
        root, [file for file in files if file.path != MANIFEST and not file.is_in(same)]
    )
    removed = _remove_stale(root, known, {file.path for file in files})
    synced = [handler for handler in handlers if _sync(root, handler, before or {})]
    manifest_created, manifest_updated = _write_all(
        root, manifests
    )  # through NEXT_MANIFEST, which is renamed
    (root / NEXT_MANIFEST).unlink(missing_ok=True)
    return Changes(
        created=tuple(sorted(created + manifest_created)),
        updated=tuple(sorted(updated + manifest_updated)),
        removed=tuple(removed),
        left=tuple(sorted(set(generated_files(root)).difference(file.path for file in files))),
        synced=tuple(synced),
        busy=tuple(handler.path for handler in handlers if handler not in synced),
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
        replace_file(path, file.content)
        (updated if exists else created).append(file.path)
    return created, updated


def _sync(root: Path, handler: Synced, before: Mapping[str, bytes]) -> bool:
    """Whether the handler file was written. It keeps its mode, and stays a symbolic link if it is one."""
    path = (root / handler.path).resolve()
    if path.read_bytes() != before.get(handler.path):
        return False
    replace_file(path, handler.content)
    return True


def replace_file(path: Path, content: bytes) -> None:
    """Whatever happens, the file has either all of this content or its old content. It keeps its mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        temporary.write_bytes(content)
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_stale(root: Path, before: Mapping[str, frozenset[str]], emitted: set[str]) -> list[str]:
    removed: list[str] = []
    for path, digests in sorted(before.items()):
        if path not in emitted and digest_on_disk(root / path) in digests:
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
