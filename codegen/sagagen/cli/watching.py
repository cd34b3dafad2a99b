"""Which files of a project have just been saved."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from watchfiles import Change, watch

from sagagen.workspace.tree import TEMPORARY

_SETTLED_MS = 50
"""Quiet time after which changes count as complete: editors and git write several files at once."""
_LOOK_MS = 1000
"""How often to look for folders that appeared, or were replaced: an old watch gets no events from a new folder."""


def changes(root: Path, names: Sequence[str], *, burst_ms: int = _SETTLED_MS) -> Iterator[list[str]]:
    """Yields the paths that changed together, relative to the root; endless. Once at first, with what may be none.

    `names` are the folders to watch. Changes that go on without a pause come after `burst_ms` milliseconds.
    """
    while True:
        folders = _folders(root, names)
        if not folders:
            time.sleep(_LOOK_MS / 1000)
            continue
        events = watch(
            *folders, debounce=burst_ms, step=_SETTLED_MS, rust_timeout=_LOOK_MS, yield_on_timeout=True
        )
        for n, found in enumerate(events):
            if n == 0 or found:  # the first time always: changes before the watch began have no event
                yield _named(root, found)
            if _folders(root, names) != folders:
                break


def _folders(root: Path, names: Sequence[str]) -> dict[Path, int]:
    """The folders to watch, with their inodes."""
    folders = (root / name for name in names)
    return {folder: folder.stat().st_ino for folder in folders if folder.is_dir()}


def _named(root: Path, found: Iterable[tuple[Change, str]]) -> list[str]:
    paths = {Path(path) for _, path in found}
    return sorted(path.relative_to(root).as_posix() for path in paths if not path.name.endswith(TEMPORARY))
