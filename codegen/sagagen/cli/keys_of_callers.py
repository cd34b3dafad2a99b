"""`sagagen keys new` and `list`: API keys, of which a file has the hashes."""

import difflib
import json
import os
import re
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from sagagen.runtime.access.api_keys import HEADER, ApiKey, KeyFile, new_key, parse
from sagagen.runtime.addresses import AccessFiles
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.model.security import ApiKeyScheme
from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import StartupError
from sagagen.workspace.project import find_root

_SPAN = re.compile(r"([1-9][0-9]{0,5})([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

_file = click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file with the hashes. Default: SAGAGEN_API_KEYS_FILE, or api-keys in the folder of the project's data.",
)
_project = click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)


@click.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="What it may; give it once for each.")
@click.option(
    "--expires", metavar="TIME", help="After 90d, 12h, 30m or 4w; or at a time, 2027-01-31T00:00:00Z."
)
@click.option(
    "--scheme", default="", help="The contract's scheme that takes it. Default: each with API keys."
)
@_file
@_project
def new(
    name: str,
    scopes: tuple[str, ...],
    expires: str | None,
    scheme: str,
    file: Path | None,
    directory: Path | None,
) -> None:
    """Make an API key, print it once, and add its hash to the file.

    NAME is who calls: two keys may have one, so that the new one is valid before the old one goes. A gateway that runs
    knows the key a second later. To take a key back, remove its line.
    """
    path = file or _path(directory, scheme, scopes)
    known = _read(path)
    try:
        key, entry = new_key(name, scopes, _expiry(expires), scheme)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _append(path, entry, is_new=known is None)
    others = sum(each.name == name for each in known.keys) if known else 0
    also = f", which has {others + 1} keys now" if others else ""
    click.echo(f"added to {path}: a key of {name}{also}. It is shown this once:", err=True)
    click.echo(key)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
@_file
@_project
def list_keys(as_json: bool, file: Path | None, directory: Path | None) -> None:
    """List the API keys: whose they are, what they may, and until when."""
    path = file or _path(directory)
    found = _read(path)
    keys = found.keys if found else ()
    if as_json:
        click.echo(json.dumps([_members(key) for key in keys], indent=2))
        return
    if not keys:
        click.echo(f"{path} has no keys: `sagagen keys new NAME` makes one", err=True)
        return
    rows = [("NAME", "HASH", "SCOPES", "EXPIRES", "SCHEME"), *map(_row, keys)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _path(directory: Path | None, scheme: str = "", scopes: Sequence[str] = ()) -> Path:
    """Where this project's gateway looks for keys. Says what in the contract does not fit."""
    try:
        project = Project.load(find_root(directory))
        settings = Settings.read(os.environ, project.root)
    except StartupError as error:
        raise click.ClickException(str(error)) from error
    _check(project.mesh, scheme, scopes)
    given = os.environ.get(AccessFiles.API_KEYS, "")
    return project.root / given if given else settings.data_dir / AccessFiles.FILE


def _check(mesh: Mesh, scheme: str, scopes: Sequence[str]) -> None:
    schemes = mesh.security.schemes if mesh.security else ()
    takes_keys = [each.name for each in schemes if isinstance(each, ApiKeyScheme)]
    if not takes_keys:
        click.echo("note: the contract has no scheme of type api_key, so nobody asks for keys yet", err=True)
    elif scheme and scheme not in takes_keys:
        raise click.UsageError(f'no scheme "{scheme}" takes API keys{_meant(scheme, takes_keys)}')
    needed = {scope for route in mesh.routes if route.access for scope in route.access.scopes}
    if mesh.security and mesh.security.admin:
        needed |= {*mesh.security.admin.viewer, *mesh.security.admin.operator}
    for scope in scopes:
        if scope not in needed:
            click.echo(
                f'note: the contract needs no scope "{scope}"{_meant(scope, sorted(needed))}', err=True
            )


def _meant(name: str, known: Iterable[str]) -> str:
    listed = list(known)
    close = difflib.get_close_matches(name, listed, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; there are: {', '.join(listed)}" if listed else ""


def _read(path: Path) -> KeyFile | None:
    """None where there is no file yet."""
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise click.ClickException(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise click.ClickException(f"{path}: {error}") from error


def _append(path: Path, entry: ApiKey, *, is_new: bool) -> None:
    """One write, so that a gateway that reads meanwhile sees the line or none of it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            content = file.read()
            begins = b"" if not content or content.endswith(b"\n") else b"\n"
            header = HEADER.encode() if is_new else b""
            file.write(header + begins + entry.line().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise click.ClickException(f"{path} can't be written: {error.strerror}") from error


def _expiry(text: str | None) -> float | None:
    if text is None:
        return None
    now_s = time.time()
    if span := _SPAN.fullmatch(text):
        return float(int(now_s) + int(span[1]) * _SECONDS[span[2]])
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f'"{text}" is no time: write 90d, 12h, 30m or 4w, or 2027-01-31T00:00:00Z') from None
    expires_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    if expires_s <= now_s:
        raise ValueError(f'"{text}" has passed')
    return expires_s


def _row(key: ApiKey) -> tuple[str, ...]:
    if key.expires_s is None:
        expires = "never"
    else:
        has_expired = "" if key.is_good(time.time()) else " (expired)"
        expires = f"{datetime.fromtimestamp(key.expires_s, UTC):%Y-%m-%d %H:%M}{has_expired}"
    return key.name, key.digest.hex()[:8], " ".join(key.scopes) or "-", expires, key.scheme or "any"


def _members(key: ApiKey) -> dict[str, object]:
    expires = (
        None if key.expires_s is None else f"{datetime.fromtimestamp(key.expires_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    )
    return {
        "name": key.name,
        "hash": key.digest.hex(),
        "scopes": list(key.scopes),
        "expires": expires,
        "scheme": key.scheme or None,
    }
