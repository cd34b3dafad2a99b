"""From planned files to their bytes. Pure: the same contract gives the same bytes, wherever and however it runs."""

import hashlib
from collections.abc import Iterable, Sequence

import sagagen
from sagagen.contract.model import Mesh
from sagagen.emit.files import File, FilePlan, Ownership
from sagagen.emit.layout import lay_out
from sagagen.emit.plan import GENERATED, as_json, plan
from sagagen.runtime.compatibility import API

MANIFEST = f"{GENERATED}/manifest.json"


def emit(mesh: Mesh) -> tuple[File, ...]:
    """Everything that the contract becomes, sorted by path, with the manifest of what is generated last."""
    files = render(plan(mesh))
    return (*files, manifest(files))


def render(plans: Sequence[FilePlan]) -> tuple[File, ...]:
    """The planned files in the order given, Python laid out."""
    rendered = {file.path: file.render() for file in plans}
    modules = {
        path: text for path, text in rendered.items() if path.endswith(".py") and isinstance(text, str)
    }
    rendered |= lay_out(modules)
    return tuple(File(file.path, _encoded(rendered[file.path]), file.ownership) for file in plans)


def manifest(files: Iterable[File]) -> File:
    """Who wrote which generated file, so that what is no longer emitted can be told from what is the user's."""
    digests = {
        file.path.removeprefix(f"{GENERATED}/"): digest(file.content)
        for file in files
        if file.ownership is Ownership.GENERATED
    }
    content = {"tool": "sagagen", "version": sagagen.__version__, "api": API, "files": digests}
    return File(MANIFEST, as_json(content).encode(), Ownership.GENERATED)


def digest(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


def _encoded(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
