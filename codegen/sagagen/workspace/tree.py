"""What is on disk under a project's generated/, and what the manifest says about it."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import cast

from sagagen.emit.plan import GENERATED
from sagagen.emit.render import MANIFEST, digest

TEMPORARY = ".sagagen-tmp"
"""Ending of files that a run writes before it renames them; an interrupted run may leave some."""


def generated_files(root: Path) -> Iterator[str]:
    """Every file under generated/, sorted, with forward slashes; caches of Python and temporary files left out."""
    for folder, folders, names in os.walk(root / GENERATED):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            if not name.endswith((".pyc", TEMPORARY)):
                yield Path(folder, name).relative_to(root).as_posix()


def temporary_files(root: Path) -> Iterator[Path]:
    """What an interrupted run left behind."""
    return (root / GENERATED).rglob(f".*{TEMPORARY}")


def recorded(root: Path) -> Mapping[str, str]:
    """Path -> SHA-256 of what the last run wrote. Empty without a manifest, or with one that can't be read."""
    try:
        manifest: object = json.loads((root / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    files = cast(dict[str, object], manifest).get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict):
        return {}
    entries = cast(dict[str, object], files)
    return {
        f"{GENERATED}/{path}": str(sha256)
        for path, sha256 in entries.items()
        if _is_inside(PurePosixPath(path))
    }


def digest_on_disk(path: Path) -> str | None:
    """None if there is no such file."""
    return digest(path.read_bytes()) if path.is_file() else None


def _is_inside(path: PurePosixPath) -> bool:
    """A manifest that someone edited must not name files outside of generated/."""
    return not path.is_absolute() and ".." not in path.parts and "\\" not in str(path)
