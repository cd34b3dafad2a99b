"""The generator's result: files in memory, with paths relative to the project root."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property


class Ownership(Enum):
    """The owner of a file once it is on disk."""

    GENERATED = "generated"
    """The generator: rewritten whenever the contract changes it."""
    YOURS = "yours"
    """The user: created if it does not exist, and never touched again."""


def nothing(_: Collection[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class FilePlan:
    """A file that will be emitted, before anything of it is rendered."""

    path: str
    """With forward slashes."""
    render: Callable[[], str | bytes]
    ownership: Ownership = Ownership.GENERATED
    made_from: Callable[[], str] | None = None
    """Digest of the parts of the contract that decide the content; None if that is the whole contract."""
    begin: Callable[[Collection[str]], None] = nothing
    """Starts work in other processes, which goes on while other files are rendered. Takes the paths of the files that
    will be rendered."""


@dataclass(frozen=True)
class File:
    path: str
    content: bytes
    ownership: Ownership

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of its content."""
        return hashlib.sha256(self.content).hexdigest()

    def is_in(self, digests: Mapping[str, str]) -> bool:
        """Whether `digests`, by path, has it with this content."""
        return self.path in digests and digests[self.path] == self.digest


class PathTaken(Exception):
    """Two planned files have the same name, or would on some disks: a mistake in this program."""
