"""From planned files to their bytes. Pure: the same contract gives the same bytes, wherever and however it runs.

So the results of earlier runs are taken from the cache. Most files have a key made from their inputs, which is known
before they are rendered; any other Python file has one made from its text, which saves laying it out.
"""

from collections.abc import Container, Iterable, Mapping, Sequence

import sagagen
from sagagen.cache import NO_CACHE, Cache
from sagagen.contract.model import Mesh
from sagagen.emit.files import File, FilePlan, Ownership, nothing
from sagagen.emit.layout import lay_out
from sagagen.emit.paths import GENERATED, MANIFEST
from sagagen.emit.plan import as_json, plan
from sagagen.runtime.model.compatibility import API

__all__ = ["MANIFEST", "emit", "manifest", "render"]


def emit(mesh: Mesh, yours: Container[str] = (), cache: Cache = NO_CACHE) -> tuple[File, ...]:
    """Everything that the contract becomes, sorted by path, with the manifest last.

    `yours`: paths of the user's files that exist. They are left out, since their initial content no longer matters to
    anyone.
    """
    plans = [file for file in plan(mesh) if file.ownership is Ownership.GENERATED or file.path not in yours]
    files = render(plans, cache)
    return (*files, manifest(files))


def render(plans: Sequence[FilePlan], cache: Cache = NO_CACHE) -> tuple[File, ...]:
    """The planned files in the order given, Python laid out."""
    keys = {file.path: cache.key(file.path, file.made_from()) for file in plans if file.made_from}
    known = cache.get_all(keys)
    texts = _texts([file for file in plans if file.path not in known])
    layouts = {
        path: cache.key("laid out", text)
        for path, text in texts.items()
        if _is_python(path) and path not in keys
    }
    known |= cache.get_all(layouts)
    made = _laid_out({path: text for path, text in texts.items() if path not in known})
    for path, key in (keys | layouts).items():
        if path in made:
            cache.put(key, made[path])
    contents = known | made
    return tuple(File(file.path, contents[file.path], file.ownership) for file in plans)


def _texts(plans: Sequence[FilePlan]) -> dict[str, str | bytes]:
    """By path. Work in other processes begins first, and is awaited last."""
    paths = {file.path for file in plans}
    for file in plans:
        file.begin(paths)
    return {file.path: file.render() for file in sorted(plans, key=lambda file: file.begin is not nothing)}


def _laid_out(texts: Mapping[str, str | bytes]) -> dict[str, bytes]:
    """The content of each file."""
    modules = {path: text for path, text in texts.items() if _is_python(path) and isinstance(text, str)}
    laid_out = {**texts, **(lay_out(modules) if modules else {})}
    return {path: text.encode() if isinstance(text, str) else text for path, text in laid_out.items()}


def _is_python(path: str) -> bool:
    return path.endswith(".py")


def manifest(files: Iterable[File]) -> File:
    """The generated files and their digests, so that files no longer emitted can be told from the user's."""
    ours = [file for file in files if file.ownership is Ownership.GENERATED]
    content = {
        "tool": "sagagen",
        "version": sagagen.__version__,
        "api": API,
        "files": {file.path.removeprefix(f"{GENERATED}/"): file.digest for file in ours},
    }
    return File(MANIFEST, as_json(content), Ownership.GENERATED)
