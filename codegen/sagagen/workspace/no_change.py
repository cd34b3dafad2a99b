"""Whether anything at all has changed since the last run that left nothing to do.

The whole answer is one digest: over the contract, everything under generated/, handlers/ and gateway/, the generator's
own source, and the distributions that are installed. Contents are hashed, not dates: a file that was changed and kept
its size and time is changed. It is kept in `.sagagen_cache/`, which is nobody's but this machine's: it is ignored by
git, and deleting it costs one full run. `--check` does not ask it.

Nothing is imported here that takes long to import, so that `sagagen generate` can answer at once.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

import sagagen
from sagagen.contract.built import Built
from sagagen.diagnostics import Diagnostic, Severity
from sagagen.emit.paths import GATEWAY, GENERATED, HANDLERS
from sagagen.source import Span

CACHE = ".sagagen_cache"
_RECORD = "last_run.json"
_PROTOS = "protos.json"
_IMAGE = "protos.binpb"
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


def remember(root: Path, digests: Snapshot, diagnostics: Iterable[Diagnostic]) -> None:
    """To be called where a run has left nothing to do; `diagnostics` are the warnings that it printed."""
    record = {"state": state(digests), "diagnostics": [_as_json(one) for one in diagnostics]}
    keep(root, _RECORD, _as_text(record))


def remember_protos(root: Path, digests: Snapshot, built: Built) -> None:
    """To be called where buf has worked. `digests`: as they were before, with the same protos as `built`."""
    record = {
        "tools": generator(digests),
        "image": hashlib.sha256(built.image).hexdigest(),
        "digests": built.digests,
        "remarks": [_as_json(one) for one in built.remarks],
    }
    keep(root, _IMAGE, built.image)
    keep(root, _PROTOS, _as_text(record))


def remembered_protos(root: Path, now: Snapshot) -> Built | None:
    """What buf made of the protos when it last worked here. None if that, or the tools, are others now."""
    record = _read(root, _PROTOS) if is_self_contained(root) else {}
    try:
        image = (root / CACHE / _IMAGE).read_bytes()
        if (record["tools"], record["image"]) != (generator(now), hashlib.sha256(image).hexdigest()):
            return None
        digests = cast(dict[str, str], record["digests"])
        remarks = cast(list[dict[str, object]], record["remarks"])
        return Built(digests, image, tuple(_from_json(one) for one in remarks))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _as_text(record: Mapping[str, object]) -> bytes:
    return (json.dumps(record, indent=1) + "\n").encode()


def keep(root: Path, name: str, content: bytes) -> None:
    """All of it or nothing: another run may be reading. Where it cannot be written, the next run takes longer."""
    folder = root / CACHE
    temporary = folder / f"{name}.{os.getpid()}"
    with suppress(OSError):
        if not folder.exists():
            folder.mkdir()
            (folder / ".gitignore").write_text("*\n", "utf-8")
        temporary.write_bytes(content)
        os.replace(temporary, folder / name)


def has_same_contract(root: Path, before: Snapshot) -> bool:
    """Whether contracts/ still says what it said. Else nobody knows which of the two was read, and it may go back."""
    now = {name: _digest(path) for name, path in _files(str(root / CONTRACTS), CONTRACTS)}
    return now == {name: digest for name, digest in before.items() if name.startswith(f"{CONTRACTS}/")}


def forget(root: Path) -> None:
    (root / CACHE / _RECORD).unlink(missing_ok=True)


def unchanged(root: Path, now: Snapshot) -> tuple[Diagnostic, ...] | None:
    """The warnings of the last run, if it left nothing to do and nothing has changed since; else None."""
    record = _read(root, _RECORD)
    try:
        if record.get("state") != state(now):
            return None
        return tuple(_from_json(one) for one in cast(list[dict[str, object]], record["diagnostics"]))
    except (ValueError, KeyError, TypeError):
        return None


def _read(root: Path, name: str) -> dict[str, object]:
    """What was remembered; empty if nothing, or nothing that can be read."""
    try:
        record: object = json.loads((root / CACHE / name).read_bytes())
    except (OSError, ValueError):
        return {}
    return cast(dict[str, object], record) if isinstance(record, dict) else {}


def protos(digests: Snapshot) -> Snapshot:
    """The part of a snapshot that is about the contract's protos."""
    return {
        name: digest
        for name, digest in digests.items()
        if name.startswith(f"{CONTRACTS}/") and name.endswith(".proto")
    }


def generator(digests: Snapshot) -> str:
    """Digest of the part that is not about the project: the generator, buf, and all that is installed."""
    return state({name: one for name, one in digests.items() if name.startswith((_SELF, _SURROUNDINGS))})


def is_self_contained(root: Path) -> bool:
    """Whether all that decides what comes out is where `state` looks.

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


def _as_json(one: Diagnostic) -> dict[str, object]:
    at = [one.at.path, one.at.line, one.at.column]
    return {"at": at, "severity": one.severity, "code": one.code, "message": one.message, "hint": one.hint}


def _from_json(record: dict[str, object]) -> Diagnostic:
    path, line, column = cast(tuple[str, int, int], record["at"])
    severity = Severity(str(record["severity"]))
    return Diagnostic(
        Span(path, line, column), severity, str(record["code"]), str(record["message"]), str(record["hint"])
    )
