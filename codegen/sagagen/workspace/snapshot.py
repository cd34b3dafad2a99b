"""What decides what a run would do, as a digest of each part.

That is the contract, everything under generated/, handlers/ and gateway/, the generator's own source, and the
distributions that are installed. Contents are hashed, not dates: a file that was changed and kept its size and time is
changed.

Nothing is imported here that takes long to import, so that `sagagen generate` can answer at once.
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
"""Name -> digest, of all that decides what a run would do. Names of the project's files are relative to its root."""


def snapshot(root: Path) -> Snapshot:
    digests = {name: _digest(path) for name, path in _inputs(root)}
    digests[_SURROUNDINGS] = json.dumps(_surroundings())
    return digests


def state(digests: Snapshot) -> str:
    """Hex SHA-256 of a snapshot."""
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def after(digests: Snapshot, written: Mapping[str, bytes], removed: Iterable[str]) -> Snapshot:
    """The snapshot as a run leaves it that has written and removed these files.

    What somebody else changes during the run is not in it, and so counts as changed when it is compared.
    """
    gone = frozenset(removed)
    kept = {name: digest for name, digest in digests.items() if name not in gone}
    return kept | {name: hashlib.sha256(content).hexdigest() for name, content in written.items()}


def has_same_contract(root: Path, before: Snapshot) -> bool:
    """Whether contracts/ still says what it said. Otherwise nobody knows which of the two was read."""
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
    """What earlier runs came to in this project, by the same generator and buf, and with the same installed."""
    generator = {name: one for name, one in digests.items() if name.startswith((_SELF, _SURROUNDINGS))}
    return Cache(root / FOLDER, state(generator), writes=writes)


def is_self_contained(root: Path) -> bool:
    """Whether all that decides what comes out is where `snapshot` looks.

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
    """Every file below `folder`, under names that begin with `name`. Symbolic links are followed.

    `seen`: device and inode of folders that were read, which are not read again: links may lead in circles.
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
    """Which Python, which buf, and every distribution that is installed, with its version."""
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
