"""Digests of everything that decides what a run would do.

That is the contract, everything under generated/, handlers/ and gateway/, the generator's own source, and the
installed distributions. Contents are hashed, not dates: a changed file counts as changed even if its size and time
are the same.

This module has no slow imports, so that `sagagen generate` can answer at once.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import sagagen
from sagagen.cache import FOLDER, Cache
from sagagen.emit.paths import GATEWAY, GENERATED, HANDLERS

_SELF = "<sagagen>"
_SURROUNDINGS = "<surroundings>"
CONTRACTS = "contracts"
_FOLDERS = (CONTRACTS, GENERATED, HANDLERS, GATEWAY)
_FILES = ("buf.yaml", "buf.lock", "buf.work.yaml")
_NEVER_READ = frozenset({"__pycache__", ".git", ".ruff_cache", ".mypy_cache", ".pytest_cache"})


Snapshot = dict[str, str]
"""Name -> digest of everything that decides what a run would do. Names of project files are relative to its root."""


def snapshot(root: Path) -> Snapshot:
    digests = {name: _digest(path) for name, path in _inputs(root)}
    digests[_SURROUNDINGS] = json.dumps(_surroundings())
    return digests


def state(digests: Snapshot) -> str:
    """Hex SHA-256 of a snapshot."""
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def after(digests: Snapshot, written: Mapping[str, bytes], removed: Iterable[str]) -> Snapshot:
    """The snapshot after a run that has written and removed these files.

    Changes by others during the run are not in it, and so count as changes at the next comparison.
    """
    gone = frozenset(removed)
    kept = {name: digest for name, digest in digests.items() if name not in gone}
    return kept | {name: hashlib.sha256(content).hexdigest() for name, content in written.items()}


def has_same_contract(root: Path, before: Snapshot) -> bool:
    """Whether contracts/ is unchanged. Otherwise it is uncertain which version was read."""
    now = {name: _digest(path) for name, path in _files(str(root / CONTRACTS), CONTRACTS)}
    return now == {name: digest for name, digest in before.items() if name.startswith(f"{CONTRACTS}/")}


def protos(digests: Snapshot) -> Snapshot:
    """The part of a snapshot that is about the contract's protos."""
    return {
        name: digest
        for name, digest in digests.items()
        if name.startswith(f"{CONTRACTS}/") and name.endswith(".proto")
    }


def open_cache(root: Path, digests: Snapshot, *, writes: bool = True) -> Cache:
    """The results of earlier runs in this project with the same generator, buf and installed distributions."""
    generator = {name: one for name, one in digests.items() if name.startswith((_SELF, _SURROUNDINGS))}
    return Cache(root / FOLDER, state(generator), writes=writes)


def is_self_contained(root: Path) -> bool:
    """Whether `snapshot` looks at everything that decides the result.

    A buf configuration of the user's own may name modules elsewhere on the disk, or in a registry.
    """
    return not any((folder / "buf.yaml").exists() for folder in (root, root / "contracts"))


def _digest(path: str) -> str:
    try:
        with open(
            path, "rb", buffering=0
        ) as file:  # half the time of Path.read_bytes: there may be thousands
            return hashlib.sha256(file.readall()).hexdigest()
    except FileNotFoundError:
        return "absent"


def _inputs(root: Path) -> Iterator[tuple[str, str]]:
    for name in _FILES:
        yield name, str(root / name)
    for folder in _FOLDERS:
        yield from _files(str(root / folder), folder)
    yield from _files(os.path.dirname(sagagen.__file__), _SELF)


def _files(folder: str, name: str, seen: set[tuple[int, int]] | None = None) -> Iterator[tuple[str, str]]:
    """Every file below `folder`, under names that begin with `name`. Follows symbolic links.

    `seen`: device and inode of folders that were already read, since links may lead in circles.
    """
    seen = set() if seen is None else seen
    try:
        status = os.stat(folder)
        found = sorted(os.scandir(folder), key=lambda one: one.name)
    except OSError:  # as os.walk does
        return
    here = (status.st_dev, status.st_ino)
    if here in seen:
        return
    seen.add(here)
    for one in found:
        if one.is_dir():
            if one.name not in _NEVER_READ:
                yield from _files(one.path, f"{name}/{one.name}", seen)
        elif one.is_file() and not one.name.endswith(".pyc"):
            yield f"{name}/{one.name}", one.path


def _surroundings() -> list[object]:
    """The versions of Python, buf and every installed distribution."""
    installed = sorted(
        entry
        for folder in dict.fromkeys(sys.path)
        if os.path.isdir(folder)
        for entry in os.listdir(folder)
        if entry.endswith((".dist-info", ".egg-info"))
    )
    buf = shutil.which("buf", path=os.path.dirname(sys.executable)) or shutil.which("buf") or ""
    status = os.stat(buf) if buf else None
    return [sys.version, installed, buf, status and [status.st_size, status.st_mtime_ns]]
