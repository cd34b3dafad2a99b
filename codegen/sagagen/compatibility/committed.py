"""Writes what a commit has below a folder to the disk, with links followed as a work tree would follow them.

A link is followed inside the repository. What lies outside of it, or in a submodule, git does not know as it was.
"""

import os
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sagagen.git import GitMissing, environment

_WANTED = (".proto", ".yaml", ".yml", ".lock")
"""What a contract is read from. A link to anything else is none of our business."""
_LINK, _FOLDER, _SUBMODULE = b"120000", b"40000", b"160000"
_MOST_LINKS = 1000
"""Links to folders with links multiply."""


class CannotFollow(Exception):
    """git does not have what is there; the message says which path and why."""


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    """The object's."""
    kind: str
    """blob, tree or commit; or why there is no object: missing, dangling, loop, notdir, symlink (outside)."""
    content: bytes


@dataclass
class Committed:
    """A commit's files. Ask it inside `with opened(...)`."""

    commit: str
    _process: "subprocess.Popen[bytes]"
    _links: int = 0

    def has(self, path: str) -> bool:
        """Whether the commit has a file there, also behind links. `path` is relative to the repository's root."""
        return self._look(f"{self.commit}:{path}").kind == "blob"

    def copy(self, path: str, to: Path) -> None:
        """A file, or all files of a folder that a contract is read from; nothing if there is none.

        Raises CannotFollow.
        """
        found = self._look(f"{self.commit}:{path}")
        if found.kind == "tree":
            self._copy_folder(path, found, to, frozenset())
        elif found.kind == "blob":
            self._write(found.content, to)
        elif found.kind != "missing":
            raise CannotFollow(_why(path, found))

    def _copy_folder(self, path: str, folder: _Found, to: Path, above: frozenset[str]) -> None:
        if folder.name in above:
            return  # a link to a folder that it is in
        to.mkdir(parents=True, exist_ok=True)
        for mode, name, entry in _entries(folder):
            self._copy_entry(f"{path}/{name}", mode, entry, to / name, above | {folder.name})

    def _copy_entry(self, path: str, mode: bytes, entry: str, to: Path, above: frozenset[str]) -> None:
        if mode == _SUBMODULE:
            raise CannotFollow(f"{path} is a submodule, whose files are not in this repository")
        is_wanted = path.endswith(_WANTED)
        if "\n" in path or not (is_wanted or mode in (_FOLDER, _LINK)):
            return
        self._links += mode == _LINK
        if self._links > _MOST_LINKS:
            raise CannotFollow(f"more than {_MOST_LINKS} symbolic links were followed: they multiply")
        found = self._look(f"{self.commit}:{path}" if mode == _LINK else entry)
        if found.kind == "tree":
            self._copy_folder(path, found, to, above)
        elif found.kind == "blob":
            if is_wanted:
                self._write(found.content, to)
        elif is_wanted or (found.kind == "symlink" and not to.suffix):  # it may be a folder with protos
            raise CannotFollow(_why(path, found))

    def _write(self, content: bytes, to: Path) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(content)

    def _look(self, wanted: str) -> _Found:
        given, told = _pipes(self._process)
        try:
            given.write(os.fsencode(wanted) + b"\n")
            given.flush()
        except BrokenPipeError:
            raise CannotFollow("git has ended") from None
        head = os.fsdecode(told.readline()).rstrip("\n").split(" ")
        if head[-1] in ("missing", "ambiguous"):
            return _Found("", "missing", b"")
        if len(head) < 2:
            raise CannotFollow(f"git has ended: {_last_words(self._process)}")
        content = told.read(int(head[-1]))
        told.readline()
        return _Found(head[0], head[1], content) if len(head) == 3 else _Found("", head[0], content)


@contextmanager
def opened(folder: Path, commit: str) -> Generator[Committed]:
    """`folder`: one of the repository. Raises GitMissing."""
    try:
        process = subprocess.Popen(
            ["git", "cat-file", "--batch", "--follow-symlinks"],
            cwd=folder,
            env=environment(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise GitMissing("git is not installed") from error
    with process:
        try:
            yield Committed(commit, process)
        finally:
            process.kill()


def _pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def _last_words(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    return process.stderr.read().decode(errors="replace").strip()


def _entries(folder: _Found) -> Iterator[tuple[bytes, str, str]]:
    """Mode, name and object of each entry of a tree, as git stores them."""
    at, size, content = 0, len(folder.name) // 2, folder.content
    while at < len(content):
        space = content.index(b" ", at)
        end = content.index(b"\0", space)
        yield (
            content[at:space],
            os.fsdecode(content[space + 1 : end]),
            content[end + 1 : end + 1 + size].hex(),
        )
        at = end + 1 + size


def _why(path: str, found: _Found) -> str:
    target = os.fsdecode(found.content)
    if found.kind == "symlink":
        return f"{path} links to {target}, which is outside of the repository"
    if found.kind == "loop":
        return f"{path} links to itself"
    if found.kind == "commit":
        return f"{path} is a submodule, whose files are not in this repository"
    return f"{path} links to nothing that the commit has"
