"""From planned files to their bytes. Pure: the same contract gives the same bytes, wherever and however it runs."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import sagagen
from sagagen.contract.model import Mesh
from sagagen.emit.files import File, FilePlan, Ownership
from sagagen.emit.layout import SETTINGS, lay_out
from sagagen.emit.paths import GENERATED, INPUTS, MANIFEST
from sagagen.emit.plan import as_json, plan
from sagagen.emit.reuse import NOTHING, Earlier, made_from, tools
from sagagen.emit.side_by_side import render_all
from sagagen.runtime.compatibility import API

__all__ = ["MANIFEST", "digest", "emit", "manifest", "render"]


def emit(mesh: Mesh, earlier: Earlier = NOTHING) -> tuple[File, ...]:
    """Everything that the contract becomes, sorted by path, with the manifest of what is generated last.

    What `earlier` has of it is taken from there; the user's files that it names are left out.
    """
    plans = [
        file
        for file in plan(mesh, earlier)
        if file.ownership is Ownership.GENERATED or file.path not in earlier.yours
    ]
    files, inputs = _render(plans, earlier)
    return (*files, manifest(files, inputs))


def render(plans: Sequence[FilePlan]) -> tuple[File, ...]:
    """The planned files in the order given, Python laid out."""
    return _render(plans, NOTHING)[0]


def _render(plans: Sequence[FilePlan], earlier: Earlier) -> tuple[tuple[File, ...], Mapping[str, str]]:
    """The files, and of those that are worth keeping what each was made from."""
    inputs = {file.path: file.inputs for file in plans if file.inputs}
    kept = {
        path: content for path, one in inputs.items() if (content := earlier.content(path, one)) is not None
    }
    missing = [file for file in plans if file.path not in kept]
    for file in missing:
        file.begin()
    rendered = render_all([file for file in missing if not file.inputs])
    rendered |= {file.path: file.render() for file in missing if file.inputs}
    for path, text in rendered.items():
        if path.endswith(".py") and isinstance(text, str) and path not in inputs:
            inputs[path] = made_from(SETTINGS, text)
            if (content := earlier.content(path, inputs[path])) is not None:
                kept[path] = content
    modules = {
        path: text
        for path, text in rendered.items()
        if path.endswith(".py") and isinstance(text, str) and path not in kept
    }
    contents = rendered | (lay_out(modules) if modules else {}) | kept
    files = tuple(File(file.path, _encoded(contents[file.path]), file.ownership) for file in plans)
    return files, inputs


def manifest(files: Iterable[File], inputs: Mapping[str, str] | None = None) -> File:
    """Who wrote which generated file, so that what is no longer emitted can be told from what is the user's.

    `inputs`: what files were made from, so that the next run makes only those again that would come out differently.
    """
    ours = [file for file in files if file.ownership is Ownership.GENERATED]
    known = inputs or {}
    content = {
        "tool": "sagagen",
        "version": sagagen.__version__,
        "api": API,
        "files": {_below_generated(file.path): digest(file.content) for file in ours},
        INPUTS: {
            "tools": tools(),
            "files": {_below_generated(file.path): known[file.path] for file in ours if file.path in known},
        },
    }
    return File(MANIFEST, as_json(content), Ownership.GENERATED)


def _below_generated(path: str) -> str:
    return path.removeprefix(f"{GENERATED}/")


def digest(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


def _encoded(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
