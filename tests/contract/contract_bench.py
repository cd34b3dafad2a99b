"""Contracts with one planted mistake each. `«` in a planted text marks the place that must be reported."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from sagagen.contract import Mesh, Sources, load, resolve
from sagagen.diagnostics import Diagnostic
from sagagen.source import Span

ROOT = Path(__file__).parents[2]
SAGA_YAML = "contracts/saga.yaml"
MARK = "«"


@cache
def shop() -> Sources:
    """The shop's contract: buf runs once for all tests that leave its protos alone."""
    sources, found = load(ROOT)
    assert found == ()
    return sources


def shop_yaml() -> str:
    text = shop().saga_yaml
    assert text is not None
    return text


@cache
def delivery() -> Sources:
    """A contract with every kind of element, and with events."""
    sources, found = load(Path(__file__).with_name("delivery"))
    assert found == ()
    return sources


def delivery_yaml() -> str:
    text = delivery().saga_yaml
    assert text is not None
    return text


def resolve_delivery(text: str) -> tuple[Mesh | None, tuple[Diagnostic, ...]]:
    return resolve(replace(delivery(), saga_yaml=text.replace(MARK, "")))


def edited(text: str, edits: tuple[tuple[str, str], ...]) -> str:
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the contract"
        text = text.replace(old, new)
    return text


def place(text: str, path: str = SAGA_YAML) -> Span:
    """Line and column of the mark."""
    before, mark, _ = text.partition(MARK)
    assert mark, "no mark was planted"
    return Span(path, before.count("\n") + 1, len(before) - before.rfind("\n"))


def places(text: str, path: str) -> list[Span]:
    """Line and column of each mark, at most one a line."""
    rows = enumerate(text.splitlines(), start=1)
    return [Span(path, row, line.index(MARK) + 1) for row, line in rows if MARK in line]


def resolve_yaml(text: str) -> tuple[Mesh | None, tuple[Diagnostic, ...]]:
    return resolve(replace(shop(), saga_yaml=text.replace(MARK, "")))


@dataclass(frozen=True)
class Mistake:
    """What is planted into saga.yaml, and what must be said about it. Edits replace a text that stands there once."""

    name: str
    edits: tuple[tuple[str, str], ...]
    code: str
    message: str
    hint: str

    def __str__(self) -> str:
        return self.name


def write_project(root: Path, files: Mapping[str, str]) -> Path:
    """A project on disk: paths relative to its root."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(MARK, ""), "utf-8")
    return root


def shop_files(**edits: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The shop's files; edits by a file's stem, for example `order=((old, new),)`."""
    files: dict[str, str] = {}
    for path in sorted((ROOT / "contracts").rglob("*")):
        if path.is_file():
            text = path.read_text("utf-8")
            files[path.relative_to(ROOT).as_posix()] = edited(text, edits.get(path.stem, ()))
    return files


def brief(found: tuple[Diagnostic, ...]) -> list[tuple[Span, str]]:
    return [(diagnostic.at, str(diagnostic.code)) for diagnostic in found]


def check_mistake(mistake: Mistake) -> None:
    """It is reported at its place, with its hint, and nothing else is."""
    text = edited(shop_yaml(), mistake.edits)
    mesh, found = resolve_yaml(text)
    assert brief(found) == [(place(text), mistake.code)]
    assert mistake.message in found[0].message
    assert mistake.hint in found[0].hint
    assert found[0].hint
    assert mesh is None
