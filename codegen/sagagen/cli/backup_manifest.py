"""What a backup says of itself: manifest.json, and whether its files are still as it says."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import sagagen

FILE = "manifest.json"
FORMAT = 1
_READ = 1 << 20

Kind = Literal["saga log", "sqlite", "postgresql"]


@dataclass(frozen=True, slots=True)
class Copy:
    """A file of a backup."""

    of: str
    """`saga-log`, or services' names with commas."""
    file: str
    kind: Kind
    bytes: int
    sha256: str
    schema_version: int
    """Of the saga log, or of a barrier; 0 where the file does not tell."""
    at: str
    """When it was begun: ISO 8601, UTC. All that was committed before is in it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    format: int
    sagagen: str
    """The version that made it."""
    project: str
    copies: Sequence[Copy]
    """In the order in which they were made: the saga log first."""
    left_out: Sequence[str]
    """Names of what belongs to the mesh, and is not here."""

    def write(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")


class NoBackup(Exception):
    """A folder is none; the message says why."""


def manifest_of(project: str, copies: Sequence[Copy], left_out: Sequence[str]) -> Manifest:
    return Manifest(FORMAT, sagagen.__version__, project, copies, left_out)


def read(folder: Path) -> Manifest:
    """Raises NoBackup."""
    file = folder / FILE
    try:
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        if found["format"] > FORMAT:
            raise NoBackup(
                f"{file} is of format {found['format']}: verify it with sagagen {found['sagagen']} or later"
            )
        copies = [Copy(**each) for each in found["copies"]]
        return Manifest(found["format"], found["sagagen"], found["project"], copies, found["left_out"])
    except FileNotFoundError as error:
        raise NoBackup(
            f"{folder} has no {FILE}: it is no backup that `sagagen backup` has finished"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise NoBackup(f"{file} can't be read: {error}") from error


def digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ):
            digest.update(part)
    return digest.hexdigest()


def version_of(path: Path, kind: Kind) -> int:
    """The schema version of a SQLite file of ours; 0 if it does not tell."""
    query = (
        "PRAGMA user_version"
        if kind == "saga log"
        else "SELECT value FROM sagagen_meta WHERE name = 'barrier_version'"
    )
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as connection:
            return int(connection.execute(query).fetchone()[0])
    except (sqlite3.Error, TypeError):
        return 0


def problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    """All that is not as the manifest says, or that no restore should build on."""
    for copy in manifest.copies:
        path = folder / copy.file
        if not path.exists():
            yield f"{copy.file} is missing"
        elif path.stat().st_size != copy.bytes:
            yield f"{copy.file} has {path.stat().st_size} bytes, and had {copy.bytes}"
        elif digest_of(path) != copy.sha256:
            yield f"{copy.file} is not as it was: its SHA-256 is another one"
        elif damage := _damage(path, copy.kind):
            yield f"{copy.file} is damaged: {damage}"
    known = {FILE, *(copy.file for copy in manifest.copies)}
    for path in sorted(folder.iterdir()):
        if path.name not in known:
            yield f"{path.name} does not belong to the backup: a restore has to leave it out"


def _damage(path: Path, kind: Kind) -> str:
    """Empty if there is none, or nobody here can tell."""
    if kind == "postgresql":
        restore = shutil.which("pg_restore")
        if restore is None:
            return ""
        listed = subprocess.run([restore, "--list", str(path)], capture_output=True, text=True, check=False)
        return listed.stderr.strip() if listed.returncode else ""
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        return str(error)
    return "" if verdict == "ok" else str(verdict)
