"""Raises a saga's version and keeps the old one beside it, as text: what people wrote stays as it is."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

from sagagen.contract.document import read_document
from sagagen.contract.loading import KEPT, SAGA_YAML
from sagagen.diagnostics import Diagnostic, did_you_mean
from sagagen.source import Entry, Mapping, Scalar


class CannotBump(Exception):
    """A saga's version can't be raised; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Bumped:
    saga: str
    version: int
    """The new one."""
    kept: str
    """Path of the old one's file, relative to the project root."""


def bump(root: Path, name: str) -> Bumped:
    """Copy the saga as it stands to contracts/sagas/, and raise its version in saga.yaml. Raises CannotBump."""
    path = root / SAGA_YAML
    # Read and written as bytes, so that line ends stay as they are.
    text = path.read_bytes().decode("utf-8")
    sagas = _sagas(text)
    entry = next((entry for entry in sagas.entries if entry.key.text == name), None)
    if entry is None:
        hint = did_you_mean(name, [entry.key.text for entry in sagas.entries])
        raise CannotBump(f'{SAGA_YAML} has no saga "{name}"' + (f": {hint}" if hint else ""))
    saga = entry.value
    if not isinstance(saga, Mapping) or saga.span.line == entry.key.span.line:
        raise CannotBump(
            f"{entry.key.span}: write the saga on several lines, one key on each; then it can be copied"
        )
    lines = text.splitlines(keepends=True)
    version = _version(saga)
    kept = f"{KEPT}/{name}.v{version}.yaml"
    if (root / kept).exists():
        raise CannotBump(
            f"{kept} already exists: version {version} is kept, so raise `version` in {SAGA_YAML} by hand"
        )
    body = textwrap.dedent("".join(lines[entry.key.span.line : _end(lines, sagas, entry)]))
    old = body if saga.get("version") else f"version: {version}\n{body}"
    (root / KEPT).mkdir(exist_ok=True)
    (root / kept).write_bytes(old.encode())
    path.write_bytes("".join(_raised(lines, saga, version + 1)).encode())
    return Bumped(name, version + 1, kept)


def _sagas(text: str) -> Mapping:
    found: list[Diagnostic] = []
    document = read_document(SAGA_YAML, text, found.append)
    sagas = document.get("sagas") if document else None
    if found or not isinstance(sagas, Mapping):
        raise CannotBump(f"{SAGA_YAML} can't be read: `sagagen check` says why")
    return sagas


def _version(saga: Mapping) -> int:
    value = saga.get("version")
    if value is None:
        return 1
    if not isinstance(value, Scalar) or not value.text.isdecimal():
        raise CannotBump(f"{saga.span}: version is not a whole number: `sagagen check` says more")
    return int(value.text)


def _end(lines: list[str], sagas: Mapping, entry: Entry) -> int:
    """Number of lines up to the saga's last one. Comments and blank lines before the next saga belong to the next."""
    following = [other.key.span.line for other in sagas.entries if other.key.span.line > entry.key.span.line]
    indent = entry.key.span.column - 1
    end = min(following, default=len(lines) + 1) - 1
    for number in range(entry.key.span.line, end):
        line = lines[number]
        if line.strip() and not line.lstrip().startswith("#") and len(line) - len(line.lstrip()) <= indent:
            end = number
            break
    while end > entry.key.span.line and _is_loose(lines[end - 1], indent):
        end -= 1
    return end


def _is_loose(line: str, indent: int) -> bool:
    return not line.strip() or (line.lstrip().startswith("#") and len(line) - len(line.lstrip()) <= indent)


def _raised(lines: list[str], saga: Mapping, version: int) -> list[str]:
    value = saga.get("version")
    if isinstance(value, Scalar):
        at, column = value.span.line - 1, value.span.column - 1
        line = lines[at]
        return [*lines[:at], f"{line[:column]}{version}{line[column + len(value.text) :]}", *lines[at + 1 :]]
    at = saga.span.line - 1
    ending = "\r\n" if lines[at].endswith("\r\n") else "\n"
    first = " " * (saga.span.column - 1) + f"version: {version}{ending}"
    return [*lines[:at], first, *lines[at:]]
