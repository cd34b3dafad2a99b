"""One owner at a time for a database file: flock on a file beside it.

Never a POSIX lock on the database itself: closing any other descriptor of that file in the process would drop it. The
lock dies with its process, by whatever end, and no child that is exec'ed inherits it.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sagagen.runtime.sqlite.database import DatabaseError, is_stuck
from sagagen.runtime.sqlite.privacy import make_private, open_private, private_folder

ALLOW_NETWORK = "SAGAGEN_ALLOW_NETWORK_FS"
"""Environment variable: `1` opens databases on network file systems all the same."""

_NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "coda", "davfs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "glusterfs"}
    | {"gfs", "gfs2", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "pvfs2", "smb2", "smb3", "smbfs"}
)
_MOUNTS = Path("/proc/self/mountinfo")


class LogLocked(DatabaseError):
    """Another process owns this database."""

    def __init__(self, path: Path, pid: int | None) -> None:
        owner = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{path} is in use by {owner}: stop it first, or give this one a data directory of its own "
            f"(SAGAGEN_DATA_DIR)"
        )
        self.path = path
        self.pid = pid


class OnNetworkFileSystem(DatabaseError):
    """The database lies where neither flock nor SQLite's WAL can be trusted."""

    def __init__(self, path: Path, file_system: str) -> None:
        super().__init__(
            f"{path} lies on a network file system ({file_system}), where locks and SQLite's log are not reliable: "
            f"choose a local directory (SAGAGEN_DATA_DIR), or set {ALLOW_NETWORK}=1 to accept the risk"
        )
        self.path = path
        self.file_system = file_system


class OwnerLock:
    """Context manager that holds the lock of the database at `path`; the lock file is `path` + `.lock` and stays.

    Entering raises LogLocked or OnNetworkFileSystem. It does not wait.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = lock_file(path)
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock; the folder is made if it is missing. Raises FolderOfOthers and LinkInPlace too."""
        private_folder(self._path.parent)
        file_system = file_system_of(self._path.parent)
        if file_system in _NETWORK and os.environ.get(ALLOW_NETWORK) != "1":
            raise OnNetworkFileSystem(self._path, file_system)
        descriptor = open_private(self._file, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = _read_pid(descriptor)
            os.close(descriptor)
            raise LogLocked(self._path, pid) from error
        with suppress(OSError):  # on a full disk: the number only helps to find the owner
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        make_private(self._path)

    def release(self) -> None:
        """Let others in. Nothing happens if the lock is not held.

        It stays until the process ends if a thread could not be ended that may still write to the database.
        """
        if self._descriptor is not None and not is_stuck(self._path):
            # The file stays: removing it would let one process lock the old file while another locks a new one.
            os.close(self._descriptor)
            self._descriptor = None


def lock_file(path: Path) -> Path:
    """Beside the database at `path`."""
    return path.with_name(path.name + ".lock")


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None


def file_system_of(folder: Path, mounts: str | None = None) -> str:
    """Type of the file system that holds `folder`, for example `ext4`; empty where the system does not tell.

    `mounts` is in the form of /proc/self/mountinfo (proc(5)), which is read if it is not given.
    """
    if mounts is None:
        mounts = _MOUNTS.read_text() if _MOUNTS.exists() else ""
    place = os.path.realpath(folder)
    best, kind = "", ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].replace("\\040", " ")
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, right.split(" ")[0]
    return kind
