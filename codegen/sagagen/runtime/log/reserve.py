"""Room on the disk that is kept for the day when there is none left: a file beside the log, which is removed first.

Once it is gone, open sagas can go on and expired ones can be purged. New sagas are refused until there is room for the
reserve again.
"""

import contextlib
import errno
import os
import shutil
import stat
import sys
from pathlib import Path

import structlog

from sagagen.runtime.sqlite.disk_errors import LEAST_FREE_BYTES
from sagagen.runtime.sqlite.lock import LogLocked, OwnerLock
from sagagen.runtime.sqlite.privacy import open_private

SIZE_BYTES = 8 * 1024 * 1024
"""Twice what SQLite's WAL grows to before it is copied back into the file."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def make_room_to_start(path: Path) -> None:
    """Release the reserve of the log at `path` if the disk is so full that no database could be opened.

    What was under way at the last end then goes on, and ends; new sagas are refused as ever while the disk is full.
    Nothing happens while a process owns the log: the reserve is that one's.
    """
    file = reserve_file(path)
    with contextlib.suppress(OSError, LogLocked):
        if shutil.disk_usage(path.parent).free < LEAST_FREE_BYTES and file.exists():
            with OwnerLock(path):
                file.unlink()
            _logger.error("the disk is full: the reserve is released for what is under way", path=str(file))


def reserve_file(path: Path) -> Path:
    """Beside the log at `path`."""
    return path.with_name(path.name + ".reserve")


class Reserve:
    """The reserve of the log at `path`: the file `path` + `.reserve`."""

    def __init__(self, path: Path, size_bytes: int = SIZE_BYTES) -> None:
        self._file = reserve_file(path)
        self._size_bytes = size_bytes
        self.is_spent = False
        """The disk was full, and there is no room yet to make the reserve again."""

    def make(self) -> bool:
        """Allocate it if it is not there. False if the disk has too little room; the reserve then counts as spent."""
        try:
            self._allocate()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.is_spent = True
            return False
        if self.is_spent:
            _logger.info("the disk has room again: new sagas are accepted")
        self.is_spent = False
        return True

    def release(self) -> bool:
        """Give the room back to the disk. False if there is none to give, or if the disk is not full."""
        if shutil.disk_usage(self._file.parent).free >= 2 * self._size_bytes:
            return False
        self.is_spent = True
        try:
            self._file.unlink()
        except FileNotFoundError:
            return False
        _logger.error(
            "the disk is full: the reserve is released, new sagas are refused", path=str(self._file)
        )
        return True

    def _is_whole(self) -> bool:
        try:
            found = self._file.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == self._size_bytes

    def _allocate(self) -> None:
        if self._is_whole():
            return
        # Twice its size must be free, so that room that was released is not taken back at once: by this process, or by
        # the next one.
        if shutil.disk_usage(self._file.parent).free < 2 * self._size_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            if self._file.is_symlink():  # what it leads to is somebody else's
                self._file.unlink()
            with open(open_private(self._file, os.O_WRONLY | os.O_TRUNC), "wb") as file:
                if sys.platform == "linux":
                    os.posix_fallocate(file.fileno(), 0, self._size_bytes)
                else:
                    file.write(bytes(self._size_bytes))
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                self._file.unlink()
            raise
