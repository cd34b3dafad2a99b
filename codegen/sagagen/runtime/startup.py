"""What keeps a process from starting, and a person can mend."""

import errno
import resource


class StartupError(Exception):
    """The message is the whole answer: what is wrong, where, and what to do. Anything else is a traceback."""


class SettingsError(StartupError):
    """An environment variable that can't be used; the message names it, its value and what would do."""


class PortTaken(OSError, StartupError):
    """Another program listens where this one should."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(errno.EADDRINUSE, f"port {port} on {host} is taken: another program listens there")
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return str(self.args[1])


_OF_THE_SYSTEM = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
    }
)


def system_problem(error: BaseException) -> str:
    """In a line, what a person can mend outside of this program (a limit, a permission, a disk); empty if it is not."""
    if not isinstance(error, OSError) or error.errno not in _OF_THE_SYSTEM:
        return ""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"it can't start: {too_many_files()}"
    where = f"{error.filename}: " if error.filename else ""
    return f"it can't start: {where}{error.strerror}"


def too_many_files() -> str:
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"too many open files; this process may have {allowed}: allow more, with `ulimit -n 4096` for example"
    )
