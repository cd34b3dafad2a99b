"""The key of whoever tries a mesh out on this machine: `sagagen up` makes one where the contract has API keys.

It is for a person at a terminal, so it is good only where a command runs the whole mesh, while the gateway listens on
loopback, and where SAGAGEN_API_KEYS_FILE does not say whose keys are taken. The gateway knows nothing of it: it is a
line of the file of keys, as any other, and the next start that is none for a person takes the line out.
"""

import ipaddress
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sagagen.runtime.addresses import AccessFiles
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.model.security import ApiKeyScheme, Security
from sagagen.runtime.settings import LOOPBACK_NETWORKS, Settings

DEVELOPER = "developer"
"""Name of the key."""
_KEY = "development-key"
"""The file that has it, in the data folder."""


def settle_development_key(mesh: Mesh, settings: Settings, root: Path, *, is_for_a_person: bool) -> None:
    """Put its line into the file of keys, with every scope of the contract, or take it out. Needs the data folder."""
    file = _file_of_keys(mesh, settings, root)
    if file is None or mesh.security is None:
        return
    from sagagen.runtime.access.api_keys import HEADER, ApiKey, digest_of, new_key

    key, is_wanted = _kept(settings), is_for_a_person and _is_on_loopback(settings.http.host)
    if not key and not is_wanted:
        return
    if not key:
        key, _ = new_key(DEVELOPER)
        _write(settings.data_dir / _KEY, [key])
    digest = digest_of(key)
    before = file.read_text("utf-8").splitlines() if file.exists() else HEADER.splitlines()
    after = [line for line in before if f"sha256:{digest.hex()}" not in line.split()]
    if is_wanted:
        after.append(ApiKey(DEVELOPER, digest, tuple(sorted(_scopes(mesh, mesh.security)))).line())
    if after != before:
        _write(file, after)


def development_key(mesh: Mesh, settings: Settings, root: Path) -> str:
    """The key of whoever looks at what `up` prints; empty if there is none."""
    is_taken = _file_of_keys(mesh, settings, root) is not None and _is_on_loopback(settings.http.host)
    return _kept(settings) if is_taken else ""


def _kept(settings: Settings) -> str:
    try:
        return (settings.data_dir / _KEY).read_text("utf-8").strip()
    except OSError:
        return ""


def _file_of_keys(mesh: Mesh, settings: Settings, root: Path) -> Path | None:
    """Where keys are taken from, if the contract has any and nobody has said where."""
    if mesh.security is None or not any(isinstance(each, ApiKeyScheme) for each in mesh.security.schemes):
        return None
    files = AccessFiles.read(settings.environment, root, settings.data_dir, mesh.security)
    return None if files.is_api_keys_set else files.api_keys


def _is_on_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in LOOPBACK_NETWORKS)


def _scopes(mesh: Mesh, security: Security) -> Iterator[str]:
    """Every one that the contract names."""
    admin = security.admin
    yield from {
        *(scope for route in mesh.routes if route.access for scope in route.access.scopes),
        *(admin.viewer if admin else ()),
        *(admin.operator if admin else ()),
    }


def _write(path: Path, lines: Sequence[str]) -> None:
    """At once, for this user alone, and never through a link."""
    new = path.with_name(f"{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))
    new.replace(path)
