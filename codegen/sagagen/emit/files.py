"""What the generator hands on: files in memory, with paths relative to the project root."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Ownership(Enum):
    """Who a file belongs to once it is on disk."""

    GENERATED = "generated"
    """The generator's: rewritten whenever the contract says so."""
    YOURS = "yours"
    """The user's: created where there is none, never touched again."""


def nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class FilePlan:
    """A file that will be emitted, before anything of it is rendered."""

    path: str
    """With forward slashes."""
    render: Callable[[], str | bytes]
    ownership: Ownership = Ownership.GENERATED
    inputs: str = ""
    """Digest of all that decides the content, where rendering is costly and should be spared; else empty."""
    begin: Callable[[], None] = nothing
    """Starts what goes on in other processes while files that need none are rendered."""


@dataclass(frozen=True, slots=True)
class File:
    path: str
    content: bytes
    ownership: Ownership


class PathTaken(Exception):
    """Two files of one name were planned, which on some disks would be one: a mistake in this program."""
