"""How many files and connections a process may have open at once (RLIMIT_NOFILE)."""

import resource

from sagagen.runtime.startup import SettingsError

LEAST = 256
"""A mesh in one process opens some dozens of files; connections come on top."""
WANTED = 65_536


def allow_open_files() -> None:
    """Raise this process's own limit as far as the system lets it. Raises SettingsError where that is not enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft != resource.RLIM_INFINITY and soft < LEAST:
        raise SettingsError(
            f"this process may open {soft} files at once, and needs {LEAST}: raise the limit (ulimit -n 4096)"
        )
