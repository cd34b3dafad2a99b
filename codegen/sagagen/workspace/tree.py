"""The files under a project's generated/, and what the manifest says about them."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from sagagen.emit.paths import GATEWAY, GENERATED, HANDLERS, MANIFEST

TEMPORARY = ".sagagen-tmp"
"""Suffix of files that a run writes before it renames them; an interrupted run may leave some."""

NEXT_MANIFEST = f"{GENERATED}/.manifest.json{TEMPORARY}"
"""The manifest of an unfinished or interrupted run: it becomes the manifest once everything else is written."""


def generated_files(root: Path) -> Iterator[str]:
    """Every file under generated/, sorted, with forward slashes, without Python's caches and temporary files."""
    for folder, folders, names in os.walk(root / GENERATED):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        below = Path(folder).relative_to(root).as_posix()
        for name in sorted(names):
            if not name.endswith((".pyc", TEMPORARY)):
                yield f"{below}/{name}"


def temporary_files(root: Path) -> Iterator[Path]:
    """What an interrupted run left behind, except the manifest that it was about to write."""
    for folder in (GENERATED, HANDLERS, GATEWAY):
        for at, _, names in os.walk(root / folder):
            for name in names:
                if name.startswith(".") and name.endswith(TEMPORARY):
                    path = Path(at, name)
                    if path != root / NEXT_MANIFEST:
                        yield path


def recorded(root: Path) -> Mapping[str, frozenset[str]]:
    """Path -> SHA-256 of what we wrote there, in the last run and in an interrupted one since then.

    Empty without a manifest, or with one that can't be read.
    """
    digests: dict[str, frozenset[str]] = {}
    for manifest in (MANIFEST, NEXT_MANIFEST):
        for path, sha256 in _files_of(root / manifest).items():
            if _is_inside(path):
                name = f"{GENERATED}/{path}"
                digests[name] = digests.get(name, frozenset()) | {sha256}
    return digests


def _files_of(manifest: Path) -> Mapping[str, str]:
    """Empty if there is none, or none that can be read."""
    try:
        said: object = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return {}
    files = cast(dict[str, object], said).get("files") if isinstance(said, dict) else None
    if not isinstance(files, dict):
        return {}
    return {path: str(sha256) for path, sha256 in cast(dict[str, object], files).items()}


def digest(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


def digest_on_disk(path: Path) -> str | None:
    """None if there is no such file."""
    return digest(path.read_bytes()) if path.is_file() else None


def _is_inside(path: str) -> bool:
    """A manifest that someone edited must not name files outside of generated/."""
    return not path.startswith("/") and ".." not in path.split("/") and "\\" not in path
