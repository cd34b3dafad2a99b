"""Are the files that a process works with still where it opened them?

A file that was removed can be written as before, and everything in it is gone with the process; nothing says so. And
where a lock file was removed, another process locks a new one: then two of them own one database.
"""

import os
from collections.abc import Iterable
from pathlib import Path

_Identity = tuple[int, int]
"""Device and inode."""


class Presence:
    """Files, as they are now. Those that do not exist are not watched."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files = {path: found for path in paths if (found := _identity(path))}

    def problem(self) -> str:
        """What is wrong, in a few words; empty if every file is where it was. It takes some microseconds."""
        for path, opened in self._files.items():
            found = _identity(path)
            if found is None:
                return f"{path} is gone: what is written now is lost when this process ends"
            if found != opened:
                return f"{path} is another file now: this process works with one that is no longer there"
        return ""


def _identity(path: Path) -> _Identity | None:
    """None if there is no such file, or no way to it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
