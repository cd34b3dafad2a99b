"""What the generator hands on: files in memory, with paths relative to the project root."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property


class Ownership(Enum):
    """Who a file belongs to once it is on disk."""

    GENERATED = "generated"
    """The generator's: rewritten whenever the contract says so."""
    YOURS = "yours"
    """The user's: created where there is none, never touched again."""


def nothing(_: Collection[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class FilePlan:
    """A file that will be emitted, before anything of it is rendered."""

    path: str
    """With forward slashes."""
    render: Callable[[], str | bytes]
    ownership: Ownership = Ownership.GENERATED
    made_from: Callable[[], str] | None = None
    """Digest of all of the contract that decides the content; None where that is all of it."""
    begin: Callable[[Collection[str]], None] = nothing
    """Starts what goes on in other processes while other files are rendered. Told which files of the plan will be
    rendered, by path."""


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
        """Whether `digests`, by path, have it as it is."""
        return self.path in digests and digests[self.path] == self.digest


class PathTaken(Exception):
    """Two files of one name were planned, which on some disks would be one: a mistake in this program."""
