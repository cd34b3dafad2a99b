"""`sagagen generate --watch`: run again whenever the contract or a handler changes, until Ctrl-C."""

import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
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
_WATCHING = f"watching {CONTRACTS}/ and {HANDLERS}/, Ctrl-C stops"


def watch_project(root: Path, *, force: bool) -> None:
    """Returns on Ctrl-C. Reports errors of the contract, hand edits and faults of ours; tries again at the next change.

    Raises UsageError where buf is not installed.
    """
    try:
        with spare_compiler() as prepare:
            _watch(root, prepare, force=force)
    except KeyboardInterrupt:
        click.echo("\nstopped watching")


def _watch(root: Path, prepare: Callable[[], None], *, force: bool) -> None:
    everything = snapshot(root)
    seen = _watched(everything)
    with _surviving(all_but=(click.UsageError,)):
        _run(root, everything, force=force)
    prepare()
    for paths in _changes(root):
        with _surviving():
            everything = snapshot(root)
            # If nothing differs, the run itself wrote the files, or a file was saved unchanged.
            before, seen = seen, _watched(everything)
            if seen != before and unchanged(open_cache(root, everything), everything) is None:
                click.echo(f"\n{', '.join(paths)} changed")
                _run(root, everything, force=force)
                prepare()


def _watched(everything: Snapshot) -> Snapshot:
    """The content of each watched file."""
    return {name: digest for name, digest in everything.items() if name.startswith((CONTRACTS, HANDLERS))}


@contextmanager
def _surviving(all_but: tuple[type[Exception], ...] = ()) -> Generator[None]:
    """What fails in it is said and ends there, faults of ours too: the next change is tried again."""
    try:
        yield
    except all_but:
        raise
    except click.ClickException as error:
        error.show()
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost the watch
        traceback.print_exception(error)
        click.echo("Error: this is a fault of sagagen, not of the contract; nothing was generated", err=True)
        click.echo(_WATCHING)


def _run(root: Path, before: Snapshot, *, force: bool) -> None:
    """Raises UsageError where buf is not installed."""
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
    click.echo(f"{time.monotonic() - began:.2f} s; {_WATCHING}")


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
