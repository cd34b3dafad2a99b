"""Room on the disk, kept for the day when there is none left: a file beside the log that is removed first.

With it gone, the sagas under way can go on and what has expired can be purged; new sagas are turned away until there is
room for the reserve again.
"""

import contextlib
import errno
import os
import shutil
import sys
from pathlib import Path

import structlog

SIZE_BYTES = 8 * 1024 * 1024
"""Twice what SQLite's WAL grows to before it is copied back into the file."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Reserve:
    """The reserve of the log at `path`: the file `path` + `.reserve`."""

    def __init__(self, path: Path, size_bytes: int = SIZE_BYTES) -> None:
        self._file = path.with_name(path.name + ".reserve")
        self._size_bytes = size_bytes
        self.is_spent = False
        """The disk was full, and there is no room yet to make the reserve anew."""

    def make(self) -> bool:
        """Allocate it, if it is not there. False if the disk has too little room: then it counts as spent."""
        try:
            self._allocate()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.is_spent = True
            return False
        if self.is_spent:
            _logger.info("the disk has room again: new sagas are taken")
        self.is_spent = False
        return True

    def release(self) -> bool:
        """Give the room back to the disk. False if none is left to give, or the disk is not what is full."""
        if shutil.disk_usage(self._file.parent).free >= 2 * self._size_bytes:
            return False
        self.is_spent = True
        try:
            self._file.unlink()
        except FileNotFoundError:
            return False
        _logger.error(
            "the disk is full: the reserve is released, new sagas are turned away", path=str(self._file)
        )
        return True

    def _allocate(self) -> None:
        if self._file.exists() and self._file.stat().st_size == self._size_bytes:
            return
        # Twice its size must be free, so that what was released is not taken back at once.
        if self.is_spent and shutil.disk_usage(self._file.parent).free < 2 * self._size_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            with self._file.open("wb") as file:
                if sys.platform == "linux":
                    os.posix_fallocate(file.fileno(), 0, self._size_bytes)
                else:
                    file.write(bytes(self._size_bytes))
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                self._file.unlink()
            raise
