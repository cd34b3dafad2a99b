"""The shop's contract, with edits: what the diff finds between the two."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from sagagen.compatibility.change import Change
from sagagen.compatibility.compare import compare, compare_contracts, in_order
from sagagen.contract import Mesh, Sources, load, resolve

ROOT = Path(__file__).parents[2]
SAGA_YAML = "contracts/saga.yaml"

Edit = tuple[str, str, str]
"""File, what stands there once, what stands there then."""


@cache
def shop() -> tuple[Sources, Mesh]:
    sources, _ = load(ROOT)
    return sources, resolved(sources)


def resolved(sources: Sources) -> Mesh:
    mesh, found = resolve(sources)
    assert mesh is not None, "\n".join(f"{each.at}: {each.code} {each.message}" for each in found)
    return mesh


def edited(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} stands there {text.count(old)} times"
    return text.replace(old, new)


def changes(folder: Path, edits: Sequence[Edit], *, backwards: bool = False) -> tuple[Change, ...]:
    """What the diff finds from the shop to the edited shop, or the other way. buf runs only where a proto is edited."""
    sources, mesh = shop()
    if all(path == SAGA_YAML for path, _, _ in edits):
        text = sources.saga_yaml or ""
        for _, was, now in edits:
            text = edited(text, was, now)
        other = resolved(replace(sources, saga_yaml=text))
        return in_order(compare_contracts(other, mesh) if backwards else compare_contracts(mesh, other))
    write_project(folder, edits)
    other_sources, found = load(folder)
    assert not [each for each in found if each.severity == "error"], found
    other = resolved(other_sources)
    return compare(ROOT, other_sources, other, mesh) if backwards else compare(folder, sources, mesh, other)


def write_project(folder: Path, edits: Sequence[Edit]) -> None:
    shutil.copytree(ROOT / "contracts", folder / "contracts")
    for path, was, now in edits:
        file = folder / path
        file.write_text(edited(file.read_text(), was, now))


def severities(found: Sequence[Change]) -> dict[str, str]:
    return {change.rule.code: change.severity.value for change in found}
