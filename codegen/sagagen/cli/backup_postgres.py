"""pg_dump of a service's database, if it is in PATH."""

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

_LIBPQ = {
    "host",
    "port",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "connect_timeout",
    "passfile",
    "dbname",
}
"""Parameters of a URL that pg_dump takes; others are asyncpg's, or settings of the session."""


class DumpFailed(Exception):
    """The message is pg_dump's, and has no password."""


def has_tool() -> bool:
    return shutil.which("pg_dump") is not None


def dump(url: str, target: Path) -> None:
    """One view of the whole database, in pg_dump's custom format, readable by this user alone. Raises DumpFailed."""
    place, password = without_password(url)
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    command = ["pg_dump", "--format=custom", "--no-password", f"--file={target}", f"--dbname={place}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        target.unlink()
        raise DumpFailed(done.stderr.strip() or f"pg_dump ended with {done.returncode}")
    with target.open("rb") as file:
        os.fsync(file.fileno())


def without_password(url: str) -> tuple[str, str]:
    """A URL that other users of the machine may see, and its password."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name in _LIBPQ])
    place = urlunsplit(parts._replace(netloc=f"{user}@{host}" if user else host, query=query))
    return place, unquote(password)
