"""What the last run made, as far as it is on disk as that run left it.

Of most files the manifest says what they were made from. Of which parts of the contract the others are made only this
machine remembers, in the cache folder beside what `no_change` knows, together with the very generator that made them.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from sagagen.emit.files import File
from sagagen.emit.paths import GENERATED, INPUTS, MANIFEST
from sagagen.emit.reuse import NOTHING, Earlier, tools
from sagagen.workspace.no_change import CACHE, Snapshot, generator, keep
from sagagen.workspace.tree import digest, entries, read_manifest

_RECORD = "rendered.json"


def earlier(root: Path, disk: Snapshot | None) -> Earlier:
    """Nothing, if other tools would make something else of it today. `disk`: what there was when the run began."""
    manifest = read_manifest(root / MANIFEST)
    made_from, digests = manifest.get(INPUTS), entries(manifest, "files")
    if not isinstance(made_from, dict):
        return NOTHING
    made_from = cast(dict[str, object], made_from)
    if entries(made_from, "tools") != tools():
        return NOTHING
    inputs = entries(made_from, "files")
    parts = _remembered(root, disk) if disk else {}
    folder = f"{root}/{GENERATED}"
    contents: dict[str, bytes] = {}
    for name in inputs.keys() | {name for name, _ in parts}:
        try:
            with open(f"{folder}/{name}", "rb", buffering=0) as file:
                content = file.readall()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        # By this manifest alone: what an interrupted run wrote since is ours, but made from something else.
        if digest(content) == digests.get(name):
            contents[name] = content
    return Earlier(
        {
            f"{GENERATED}/{name}": (inputs[name], content)
            for name, content in contents.items()
            if name in inputs
        },
        {
            f"{GENERATED}/{name}": (made_of, content)
            for name, content in contents.items()
            if (made_of := parts.get((name, digests[name])))
        },
    )


def remember(root: Path, disk: Snapshot, files: Iterable[File]) -> None:
    """To be called where `files` have been written."""
    parts = [
        (file.path.removeprefix(f"{GENERATED}/"), file.digest, file.parts) for file in files if file.parts
    ]
    keep(root, _RECORD, json.dumps({"generator": generator(disk), "files": parts}).encode())


def _remembered(root: Path, disk: Snapshot) -> dict[tuple[str, str], str]:
    """Name below generated/ and digest of the content -> of which parts it was made.

    The content counts too: contracts/ and generated/ may each come back from another time.
    """
    try:
        record: object = json.loads((root / CACHE / _RECORD).read_bytes())
        record = cast(dict[str, Any], record)
        if record["generator"] != generator(disk):
            return {}
        return {(name, content): parts for name, content, parts in record["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
