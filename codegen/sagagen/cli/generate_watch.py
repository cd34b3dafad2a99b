"""`sagagen generate --watch`: run again whenever the contract or a handler changes, until Ctrl-C."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import click
from watchfiles import Change, watch

from sagagen.cli.generate_run import run
from sagagen.contract.buf import CONTRACTS, BufMissing
from sagagen.contract.built import Built
from sagagen.contract.loading import loading
from sagagen.emit.compiler_process import spare_compiler
from sagagen.emit.paths import HANDLERS
from sagagen.workspace.no_change import unchanged
from sagagen.workspace.snapshot import Snapshot, is_self_contained, open_cache, protos, snapshot
from sagagen.workspace.tree import TEMPORARY

_SETTLED_MS = 50
"""Quiet time after which changes count as complete: editors and git write several files at once."""
_LOOK_MS = 1000
"""How often to look for folders that appeared, or were replaced: an old watch gets no events from a new folder."""


def watch_project(root: Path, *, force: bool) -> None:
    """Returns on Ctrl-C. Reports errors of the contract and hand edits, and tries again after the next change."""
    try:
        with spare_compiler() as prepare:
            _watch(root, prepare, force=force)
    except KeyboardInterrupt:
        click.echo("\nstopped watching")


def _watch(root: Path, prepare: Callable[[], None], *, force: bool) -> None:
    everything = snapshot(root)
    seen = _watched(everything)
    _run(root, everything, force=force)
    prepare()
    for paths in _changes(root):
        # Otherwise the run itself wrote the files, or a file was saved unchanged.
        everything = snapshot(root)
        if (now := _watched(everything)) != seen and unchanged(
            open_cache(root, everything), everything
        ) is None:
            click.echo(f"\n{', '.join(paths)} changed")
            _run(root, everything, force=force)
            prepare()
        seen = now


def _watched(everything: Snapshot) -> Snapshot:
    """The content of each watched file."""
    return {name: digest for name, digest in everything.items() if name.startswith((CONTRACTS, HANDLERS))}


def _run(root: Path, before: Snapshot, *, force: bool) -> None:
    began = time.monotonic()
    try:
        cache = replace(open_cache(root, before), reads=not force)
        built = Built.latest(cache) if is_self_contained(root) else None
        with loading(root, built, protos(before)) as started:
            run(started, cache, before, force=force)
    except BufMissing as error:
        raise click.UsageError(str(error)) from None
    except click.ClickException as error:
        error.show()
    click.echo(f"{time.monotonic() - began:.2f} s; watching {CONTRACTS}/ and {HANDLERS}/, Ctrl-C stops")


def _changes(root: Path) -> Iterator[list[str]]:
    """Yields the paths that changed together, relative to the root; endless."""
    while True:
        folders = _folders(root)
        if not folders:
            time.sleep(_LOOK_MS / 1000)
            continue
        events = watch(
            *folders, debounce=_SETTLED_MS, step=_SETTLED_MS, rust_timeout=_LOOK_MS, yield_on_timeout=True
        )
        for n, changes in enumerate(events):
            if n == 0 or changes:  # the first time always: changes before the watch began have no event
                yield _named(root, changes) or [f"{CONTRACTS}/"]
            if _folders(root) != folders:
                break


def _folders(root: Path) -> dict[Path, int]:
    """The folders to watch, with their inodes."""
    folders = (root / CONTRACTS, root / HANDLERS)
    return {folder: folder.stat().st_ino for folder in folders if folder.is_dir()}


def _named(root: Path, changes: Iterable[tuple[Change, str]]) -> list[str]:
    paths = {Path(path) for _, path in changes}
    return sorted(path.relative_to(root).as_posix() for path in paths if not path.name.endswith(TEMPORARY))
