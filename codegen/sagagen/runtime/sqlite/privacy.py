"""Data is its owner's: what is kept in the data folder is read and written by one user of the machine.

A folder that others may write in is refused: whoever may put a link or a database there decides what is opened. With
the sticky bit, as a tmpfs has it, others can't replace what is ours: such a folder is taken while nothing of theirs is
in it. A link in the place of a file of ours is never followed.
"""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from sagagen.runtime.startup import StartupError

OF_OTHERS = 0o077
"""Mode bits of a file or folder that others have something of: what the umask takes away."""
_BESIDE = ("", "-wal", "-shm", "-journal", ".lock", ".reserve", ".deaths")
"""What may lie beside a database, and has the same in it or decides about it."""


class FolderOfOthers(StartupError):
    """Anybody may write in the data folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"every user of this machine may write in {folder}, and so decide what is opened there: "
            f"`chmod go-w {folder}`, or set SAGAGEN_DATA_DIR to a folder below it, which is made for this user alone"
        )
        self.folder = folder


class LinkInPlace(StartupError):
    """There is a link where a file of ours will be."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is a symbolic link, and is not followed: look where it leads, and remove it"
        )
        self.path = path


@contextmanager
def private_files() -> Generator[None]:
    """What this process makes within the block is its user's alone."""
    before = os.umask(OF_OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def private_folder(folder: Path) -> None:
    """Make it if it is not there, for this user alone. Raises FolderOfOthers, or OSError where it can't be made.

    Looks at each entry of a folder with the sticky bit that everybody may write in, and at none of any other.

    One that is ours, and that our group may write in, was made under another umask: that is taken back. One that
    belongs to somebody else, and that we write in by our group, is a volume that was mounted for us.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_mode & stat.S_IWOTH and not (found.st_mode & stat.S_ISVTX and _is_ours_alone(folder)):
        raise FolderOfOthers(folder)
    if found.st_mode & stat.S_IWGRP and found.st_uid == os.geteuid():
        folder.chmod(stat.S_IMODE(found.st_mode) & ~stat.S_IWGRP)


def _is_ours_alone(folder: Path) -> bool:
    """Nothing in it is another user's; root may do as it likes anyway."""
    with os.scandir(folder) as entries:
        return all(entry.stat(follow_symlinks=False).st_uid in (0, os.geteuid()) for entry in entries)


def make_private(database: Path) -> None:
    """Take from others what they have of a database's files: earlier versions made them under the user's umask."""
    for suffix in _BESIDE:
        path = database.with_name(database.name + suffix)
        with suppress(OSError):  # not there, or not ours to change
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mode & OF_OTHERS and found.st_uid == os.geteuid():
                path.chmod(stat.S_IMODE(found.st_mode) & ~OF_OTHERS)


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a file that is made for this user alone. Raises LinkInPlace instead of following a link."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        if path.is_symlink():
            raise LinkInPlace(path) from None
        raise
