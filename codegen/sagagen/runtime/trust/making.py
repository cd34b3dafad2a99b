"""Secrets that nobody has to think of: made at the first start, and kept in a file.

`up --mesh` makes the mesh's key so. In containers `python -m sagagen.runtime.trust.making KIND=FOLDER ...` does it
once, before anything else runs; `postgres=FOLDER,DATABASE,...` also writes the URL of each database, and
`restate=FOLDER` the public key of Restate's. `rotate=FOLDER` has a mesh's key joined by a new one, and `retire=FOLDER`
ends the old.
"""

import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from sagagen.runtime.secret_file import Secret
from sagagen.runtime.startup import StartupError
from sagagen.runtime.trust import restate_keys

MESH_KEY_FILE = "mesh-key"
"""In the data folder of a local mesh."""
_BYTES = 32
_OWNER, _SERVER = "sagagen", "postgres:5432"
"""Of the PostgreSQL that the emitted stack starts."""


def made_secret(path: Path, text: str = "") -> Path:
    """The file with a secret, made if there is none: 32 random bytes in hex, or `text`; readable by its owner alone.

    Whoever looks sees a whole secret, and of several who make it at once one wins. Raises StartupError.
    """
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        if path.exists():
            return path
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text or f"{secrets.token_hex(_BYTES)}\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(beside, path)
        except FileExistsError:  # somebody else was quicker
            pass
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise StartupError(f"a key can't be kept in {path}: {error.strerror}") from error
    return path


def rotate(path: Path) -> None:
    """A new secret comes first, and the one that was first stays valid. Raises StartupError."""
    _exchange(path, f"{secrets.token_hex(_BYTES)}\n{_first(path)}\n")


def retire(path: Path) -> None:
    """The first secret alone is valid from now on. Raises StartupError."""
    _exchange(path, f"{_first(path)}\n")


def _first(path: Path) -> str:
    return Secret.in_file(path, "SAGAGEN_MESH_KEY").current.decode()


def _exchange(path: Path, text: str) -> None:
    """In one moment: who reads it has the whole of the one or of the other."""
    beside = made_secret(path.with_name(f"{path.name}.next"), text)
    os.replace(beside, path)


def make(kind: str, folder: Path) -> None:
    """`mesh`: the mesh's key. `redis`: a password, as those who ask Redis and as Redis itself reads it.
    `postgres` and `restate`: see above."""
    if kind == "mesh":
        made_secret(folder / MESH_KEY_FILE)
    elif kind == "redis":
        password = made_secret(folder / "password").read_text().strip()
        made_secret(folder / "redis.conf", f"requirepass {password}\n")
    elif kind == "postgres":
        _make_for_postgres(folder)
    elif kind == "restate":
        private = made_secret(folder / restate_keys.PRIVATE, restate_keys.new_private_key())
        made_secret(folder / restate_keys.PUBLIC, f"{restate_keys.public_key_of(private)}\n")
    elif kind == "rotate":
        rotate(folder / MESH_KEY_FILE)
    elif kind == "retire":
        retire(folder / MESH_KEY_FILE)
    else:
        raise StartupError(f"{kind} is none of mesh, redis, postgres, restate, rotate and retire")


def _make_for_postgres(folder_and_databases: Path) -> None:
    """A password, which the server reads by its group, and for each database a URL with it."""
    folder, *databases = str(folder_and_databases).split(",")
    file = made_secret(Path(folder) / "password")
    file.chmod(0o640)
    password = file.read_text().strip()
    for name in databases:
        made_secret(Path(folder) / f"{name}.url", f"postgresql://{_OWNER}:{password}@{_SERVER}/{name}\n")


def main(arguments: Sequence[str]) -> None:
    for argument in arguments:
        kind, _, folder = argument.partition("=")
        make(kind, Path(folder))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except StartupError as problem:
        sys.exit(str(problem))
