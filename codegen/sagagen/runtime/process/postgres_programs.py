"""PostgreSQL's programs on this machine, and the user that they run as."""

import glob
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sagagen.runtime.startup import StartupError

OLDEST = 14
PLACES = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Red Hat
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
"""Where packages put them that do not put them on PATH."""
_USERS = ("postgres", "nobody")
"""Whom a server runs as that root starts: PostgreSQL itself refuses root."""


class NoPostgres(StartupError):
    """No server can be started on this machine; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of one version."""

    folder: Path
    version: int
    """The major one: 17."""

    def path(self, name: str) -> str:
        """`initdb`, `postgres`, `pg_ctl`, ..."""
        return str(self.folder / name)

    @classmethod
    def find(cls, version: int | None = None) -> "Programs":
        """Those on PATH, or else the newest. With `version` those of that version alone: no other reads its data.

        Raises NoPostgres.
        """
        found = list(_installed(_folders()))
        usable = [each for each in found if each.version >= OLDEST and version in (None, each.version)]
        if usable:
            return usable[0]
        wanted = f"PostgreSQL {version}" if version else f"PostgreSQL {OLDEST} or later"
        there = ", ".join(str(each.version) for each in found)
        raise NoPostgres(
            f"{wanted} is not on this machine (looked for initdb on PATH and in {PLACES[0]}"
            f"{f'; there is {there}' if there else ''}): install it (Debian: apt install postgresql, macOS: brew "
            "install postgresql@17), or put the folder that holds initdb on PATH"
        )


def user_for_server() -> pwd.struct_passwd | None:
    """Whom a server has to run as; None: whoever starts it. Raises NoPostgres."""
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres(
        "PostgreSQL does not run as root, and there is no user postgres: start this as another user, or make one "
        "(useradd --system postgres)"
    )


def _folders() -> Iterator[Path]:
    """Where programs may be, best first: PATH, then newer versions before older ones."""
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent  # a link may lead to one of many versions
    for place in PLACES:
        yield from sorted(map(Path, glob.glob(place)), key=_number, reverse=True)


def _number(folder: Path) -> float:
    found = re.findall(r"\d+(?:\.\d+)?", str(folder))
    return float(found[-1]) if found else 0.0


def _installed(folders: Iterator[Path]) -> Iterator[Programs]:
    for folder in dict.fromkeys(folders):
        if not all((folder / name).exists() for name in ("initdb", "postgres", "pg_ctl")):
            continue
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
        if found := re.search(r"\) (\d+)", said.stdout):
            yield Programs(folder, int(found[1]))
