"""From planned files to their bytes. Pure: the same contract gives the same bytes, wherever and however it runs."""

from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import sagagen
from sagagen.contract.model import Mesh
from sagagen.emit.files import File, FilePlan, Ownership
from sagagen.emit.layout import SETTINGS, lay_out
from sagagen.emit.paths import GENERATED, INPUTS, MANIFEST
from sagagen.emit.plan import as_json, plan
from sagagen.emit.reuse import NOTHING, Earlier, made_from, tools
from sagagen.emit.side_by_side import Rendered, rendering
from sagagen.runtime.model.compatibility import API

__all__ = ["MANIFEST", "emit", "emitting", "manifest", "render"]

Files = Callable[[], tuple[File, ...]]
"""Waits for what is not made yet."""


@contextmanager
def emitting(mesh: Mesh, yours: Container[str] = (), earlier: Earlier = NOTHING) -> Generator[Files]:
    """Begin to make everything that the contract becomes: sorted by path, with the manifest last.

    `yours`: paths of the user's files that exist. They are left out: nobody needs to know what they would have been
    created with. What the last run made of the same is taken from there.
    """
    plans = [file for file in plan(mesh) if file.ownership is Ownership.GENERATED or file.path not in yours]
    with _begun(plans, earlier) as making:
        yield partial(_with_manifest, making)


def emit(mesh: Mesh, earlier: Earlier = NOTHING) -> tuple[File, ...]:
    """As `emitting`, at once."""
    with emitting(mesh, (), earlier) as files:
        return files()


def render(plans: Sequence[FilePlan]) -> tuple[File, ...]:
    """The planned files in the order given, Python laid out."""
    with _begun(plans, NOTHING) as making:
        return making.files()[0]


@contextmanager
def _begun(plans: Sequence[FilePlan], earlier: Earlier) -> "Generator[_Making]":
    parts = {file.path: file.parts() for file in plans if file.parts is not None}
    unchanged = {
        path: content for path, one in parts.items() if (content := earlier.unchanged(path, one)) is not None
    }
    with rendering(
        [file for file in plans if file.inputs is None and file.path not in unchanged]
    ) as rendered:
        yield _Making(plans, earlier, parts, unchanged, rendered)


@dataclass(frozen=True, slots=True)
class _Making:
    """Files that are being made."""

    plans: Sequence[FilePlan]
    earlier: Earlier
    parts: Mapping[str, str]
    """Of which parts of the contract files are made, by path, where not of all."""
    unchanged: Mapping[str, bytes]
    """The content of those whose parts are as they were."""
    rendered: Callable[[], Rendered]

    def files(self) -> tuple[tuple[File, ...], Mapping[str, str]]:
        """The files, and of those that are worth keeping what each was made from."""
        earlier = self.earlier
        inputs = {
            file.path: file.inputs()
            for file in self.plans
            if file.inputs is not None and file.path not in self.unchanged
        }
        kept = {
            path: content
            for path, one in inputs.items()
            if (content := earlier.content(path, one)) is not None
        }
        missing = {file.path: file for file in self.plans if file.path in inputs and file.path not in kept}
        for file in missing.values():
            file.begin(missing.keys())
        texts = self.rendered() | {path: file.render() for path, file in missing.items()}
        for path, text in texts.items():
            if path.endswith(".py") and isinstance(text, str) and path not in inputs:
                inputs[path] = made_from(SETTINGS, text)
                if (content := earlier.content(path, inputs[path])) is not None:
                    kept[path] = content
        inputs |= {path: earlier.files[path][0] for path in self.unchanged if path in earlier.files}
        modules = {
            path: text
            for path, text in texts.items()
            if path.endswith(".py") and isinstance(text, str) and path not in kept
        }
        contents = {**texts, **(lay_out(modules) if modules else {}), **kept, **self.unchanged}
        return tuple(self._file(file, contents[file.path]) for file in self.plans), inputs

    def _file(self, plan: FilePlan, content: str | bytes) -> File:
        encoded = content.encode() if isinstance(content, str) else content
        return File(plan.path, encoded, plan.ownership, self.parts.get(plan.path, ""))


def _with_manifest(making: _Making) -> tuple[File, ...]:
    files, inputs = making.files()
    return (*files, manifest(files, inputs))


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
