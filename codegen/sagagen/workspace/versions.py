"""Raises a saga's version and keeps the old one beside it, as text: what people wrote stays as it is."""

import codecs
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sagagen.contract.document import read_document
from sagagen.contract.loading import KEPT, SAGA_YAML
from sagagen.diagnostics import Diagnostic, did_you_mean
from sagagen.source import Entry, Mapping, Scalar


class CannotBump(Exception):
    """A saga's version can't be raised; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """saga.yaml as it was, which may be what open sagas began with."""

    name: str
    """What has it: `main`, or a commit."""
    saga_yaml: bytes


@dataclass(frozen=True, slots=True)
class Bumped:
    saga: str
    version: int
    """The new one."""
    kept: str
    """Path of the old one's file, relative to the project root."""
    old: int
    """The old one's version."""
    source: str
    """Where the old one's text is from."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A saga as a file has it."""

    version: int
    body: str
    """As it stands in a file of its own."""


def bump(
    root: Path,
    name: str,
    earlier: Iterable[Earlier] = (),
    is_edited: Callable[[int], bool] = lambda _version: False,
) -> Bumped:
    """Keep the saga in contracts/sagas/ as it was, and raise its version in saga.yaml. Raises CannotBump.

    As it was in the first of `earlier` that has the version that saga.yaml has, or the one before it. Where none has,
    what stands in saga.yaml counts, unless it `is_edited` since that version was generated.
    """
    path = root / SAGA_YAML
    # Read and written as bytes, so that line ends stay as they are.
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CannotBump(f"{SAGA_YAML} is not UTF-8: {error.reason}; save it as UTF-8") from None
    sagas, entry = _found(SAGA_YAML, text, name)
    now = _cut(SAGA_YAML, text, sagas, entry)
    old, source = _old(root, name, now, earlier, is_edited)
    kept = f"{KEPT}/{name}.v{old.version}.yaml"
    if (root / kept).exists():
        raise CannotBump(
            f"{kept} already exists: version {old.version} is kept, so raise `version` in {SAGA_YAML} by hand"
        )
    if not _is_whole(kept, old.body):
        raise CannotBump(
            f"{source}: {name} has aliases of other parts of the file: write them out, since it is to stand in {kept}"
        )
    (root / KEPT).mkdir(exist_ok=True)
    (root / kept).write_bytes(old.body.encode())
    new = max(now.version, old.version + 1)
    if new != now.version:
        saga = entry.value
        assert isinstance(saga, Mapping)
        mark = codecs.BOM_UTF8 if path.read_bytes().startswith(codecs.BOM_UTF8) else b""
        path.write_bytes(mark + "".join(_raised(_lines(text), saga, new)).encode())
    return Bumped(name, new, kept, old.version, source)


def _old(
    root: Path, name: str, now: _Text, earlier: Iterable[Earlier], is_edited: Callable[[int], bool]
) -> tuple[_Text, str]:
    """The text that open sagas began with, and where it is from."""
    for one in earlier:
        found = _in(one, name)
        if found is None:
            continue
        is_kept = (root / f"{KEPT}/{name}.v{found.version}.yaml").exists()
        if found.version == now.version or (found.version < now.version and not is_kept):
            return found, one.name
    if is_edited(now.version):
        raise CannotBump(
            f"{name} was edited since its version {now.version} was generated, and open sagas need the text from "
            "before: name what has it with --against REF|DIR (a commit in git, or the folder of another copy), or put "
            "the old text back, bump, and edit it then"
        )
    return now, SAGA_YAML


def _in(earlier: Earlier, name: str) -> _Text | None:
    """None if it has no such saga, or can't be read: then it was no contract yet."""
    where = f"{earlier.name}:{SAGA_YAML}"
    try:
        text = earlier.saga_yaml.decode("utf-8-sig")
        sagas = _sagas(where, text)
    except (UnicodeDecodeError, CannotBump):
        return None
    entry = next((entry for entry in sagas.entries if entry.key.text == name), None)
    return _cut(where, text, sagas, entry) if entry else None


def _found(where: str, text: str, name: str) -> tuple[Mapping, Entry]:
    sagas = _sagas(where, text)
    entry = next((entry for entry in sagas.entries if entry.key.text == name), None)
    if entry is None:
        hint = did_you_mean(name, [entry.key.text for entry in sagas.entries])
        raise CannotBump(f'{where} has no saga "{name}"' + (f": {hint}" if hint else ""))
    return sagas, entry


def _cut(where: str, text: str, sagas: Mapping, entry: Entry) -> _Text:
    saga = entry.value
    if not isinstance(saga, Mapping) or saga.span.line == entry.key.span.line:
        at = f"{where}:{entry.key.span.line}:{entry.key.span.column}"
        raise CannotBump(f"{at}: write the saga on several lines, one key on each; then it can be copied")
    lines = _lines(text)
    version = _version(saga)
    body = textwrap.dedent("".join(lines[entry.key.span.line : _end(lines, sagas, entry)]))
    return _Text(version, body if saga.get("version") else f"version: {version}\n{body}")


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _is_whole(path: str, body: str) -> bool:
    found: list[Diagnostic] = []
    return read_document(path, body, found.append) is not None and not found


def _sagas(where: str, text: str) -> Mapping:
    found: list[Diagnostic] = []
    document = read_document(where, text, found.append)
    sagas = document.get("sagas") if document else None
    if found or not isinstance(sagas, Mapping):
        raise CannotBump(f"{where} can't be read: `sagagen check` says why")
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
