"""The results of earlier runs in one store, each under a digest of everything that decides it.

A key depends on content alone: what the entry was made from, and the generator with all installed distributions. So an
entry is never out of date; any change leads to a different key. The store belongs to this machine: git ignores it,
`--check` does not use it, and deleting it costs one full run.

An entry is a file that begins with the digest of the rest. One that does not fit its digest counts as absent, whether
it is damaged, a run was killed while writing it, or another run is writing it right now. So runs need not wait for
one another. `trim` removes the least recently used entries.

This module has no slow imports.
"""

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

FOLDER = ".sagagen_cache"
"""Relative to the project's root."""
LIMIT_BYTES = 64 * 2**20
"""Four times what a project of 300 services needs."""
_IGNORED = ".gitignore"
_DIGEST_BYTES = 32


def digest_of(*parts: str | bytes) -> str:
    """Hex SHA-256 of several parts, kept apart from one another."""
    hashed = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        hashed.update(len(content).to_bytes(8))
        hashed.update(content)
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class Cache:
    """The store of one project. If the disk can't be read or written, it is empty, and keeps nothing."""

    folder: Path
    generator: str
    """Digest of what makes the entries: the generator, and the installed distributions."""
    reads: bool = True
    """If not, it behaves as if it were empty."""
    writes: bool = True

    def key(self, kind: str, *parts: str | bytes) -> str:
        """The key of what is made from `parts`, which are everything that decides it. `kind` says what it is."""
        return digest_of(self.generator, kind, *parts)

    def get(self, key: str) -> bytes | None:
        if not self.reads:
            return None
        path = f"{self.folder}/{key}"
        try:
            with open(
                path, "rb", buffering=0
            ) as file:  # half the time of Path.read_bytes: there may be thousands
                entry = file.readall()
        except OSError:
            return None
        with suppress(OSError):  # the disk may be read-only
            os.utime(path)
        content = entry[_DIGEST_BYTES:]
        return content if hashlib.sha256(content).digest() == entry[:_DIGEST_BYTES] else None

    def get_all(self, keys: Mapping[str, str]) -> dict[str, bytes]:
        """The existing entries, by name; `keys` has the key of each name."""
        found = ((name, self.get(key)) for name, key in keys.items())
        return {name: content for name, content in found if content is not None}

    def put(self, key: str, content: bytes) -> None:
        if not self.writes:
            return
        with suppress(OSError):
            if not os.path.isdir(self.folder):
                self.folder.mkdir()
                (self.folder / _IGNORED).write_text("*\n", "utf-8")
            with open(f"{self.folder}/{key}", "wb", buffering=0) as file:
                file.write(hashlib.sha256(content).digest() + content)

    def trim(self) -> None:
        """Keep the most recently used entries, up to LIMIT_BYTES."""
        with suppress(OSError):
            found = [(one.stat(), one.path) for one in os.scandir(self.folder) if _is_entry(one)]
            found.sort(key=lambda one: one[0].st_mtime_ns, reverse=True)
            sizes = accumulate(status.st_size for status, _ in found)
            for path in [path for size, (_, path) in zip(sizes, found, strict=True) if size > LIMIT_BYTES]:
                os.unlink(path)


def _is_entry(found: "os.DirEntry[str]") -> bool:
    return found.is_file() and found.name != _IGNORED


NO_CACHE = Cache(Path(), "", reads=False, writes=False)
"""For a run that trusts no earlier one."""
