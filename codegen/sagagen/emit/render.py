"""From planned files to their bytes. Pure: the same contract gives the same bytes, wherever and however it runs."""

from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import sagagen
from sagagen.contract.model import Mesh
from sagagen.emit.files import File, FilePlan, Ownership
from sagagen.emit.layout import SETTINGS, lay_out
from sagagen.emit.paths import GENERATED, INPUTS, MANIFEST
from sagagen.emit.plan import as_json, plan
from sagagen.emit.reuse import NOTHING, Earlier, made_from, tools
from sagagen.emit.side_by_side import Rendered, rendering
from sagagen.runtime.compatibility import API

__all__ = ["MANIFEST", "emit", "emitting", "manifest", "render"]

Files = Callable[[Earlier], tuple[File, ...]]
"""Told what the last run made, which is taken from there, and waits for what it did not make."""


@contextmanager
def emitting(mesh: Mesh, yours: Container[str] = ()) -> Generator[Files]:
    """Begin to make everything that the contract becomes: sorted by path, with the manifest last.

    `yours`: paths of the user's files that exist. They are left out: nobody needs to know what they would have been
    created with.
    """
    plans = [file for file in plan(mesh) if file.ownership is Ownership.GENERATED or file.path not in yours]
    with rendering([file for file in plans if file.inputs is None]) as rendered:
        yield partial(_with_manifest, plans, rendered)


def emit(mesh: Mesh, earlier: Earlier = NOTHING) -> tuple[File, ...]:
    """As `emitting`, at once."""
    with emitting(mesh) as files:
        return files(earlier)


def render(plans: Sequence[FilePlan]) -> tuple[File, ...]:
    """The planned files in the order given, Python laid out."""
    with rendering([file for file in plans if file.inputs is None]) as rendered:
        return _files(plans, rendered, NOTHING)[0]


def _with_manifest(
    plans: Sequence[FilePlan], rendered: Callable[[], Rendered], earlier: Earlier
) -> tuple[File, ...]:
    files, inputs = _files(plans, rendered, earlier)
    return (*files, manifest(files, inputs))


def _files(
    plans: Sequence[FilePlan], rendered: Callable[[], Rendered], earlier: Earlier
) -> tuple[tuple[File, ...], Mapping[str, str]]:
    """The files, and of those that are worth keeping what each was made from."""
    inputs = {file.path: file.inputs() for file in plans if file.inputs is not None}
    kept = {
        path: content for path, one in inputs.items() if (content := earlier.content(path, one)) is not None
    }
    missing = {file.path: file for file in plans if file.path in inputs and file.path not in kept}
    for file in missing.values():
        file.begin(missing.keys())
    texts = rendered() | {path: file.render() for path, file in missing.items()}
    for path, text in texts.items():
        if path.endswith(".py") and isinstance(text, str) and path not in inputs:
            inputs[path] = made_from(SETTINGS, text)
            if (content := earlier.content(path, inputs[path])) is not None:
                kept[path] = content
    modules = {
        path: text
        for path, text in texts.items()
        if path.endswith(".py") and isinstance(text, str) and path not in kept
    }
    contents = texts | (lay_out(modules) if modules else {}) | kept
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
        "files": {_below_generated(file.path): file.digest for file in ours},
        INPUTS: {
            "tools": tools(),
            "files": {_below_generated(file.path): known[file.path] for file in ours if file.path in known},
        },
    }
    return File(MANIFEST, as_json(content), Ownership.GENERATED)


def _below_generated(path: str) -> str:
    return path.removeprefix(f"{GENERATED}/")


def _encoded(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
