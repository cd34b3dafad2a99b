"""`sagagen generate --watch`: run again whenever the contract or a handler changes, until Ctrl-C."""

import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from sagagen.cli.generate_run import report_changes, run
from sagagen.cli.watching import changes
from sagagen.contract.buf import CONTRACTS, BufMissing
from sagagen.contract.built import Built
from sagagen.contract.loading import loading
from sagagen.emit.compiler_process import spare_compiler
from sagagen.emit.paths import HANDLERS
from sagagen.workspace.no_change import unchanged
from sagagen.workspace.snapshot import Snapshot, is_self_contained, open_cache, protos, snapshot
from sagagen.workspace.writing import Changes

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
    with surviving(all_but=(click.UsageError,)):
        _run(root, everything, force=force)
    prepare()
    for paths in changes(root, (CONTRACTS, HANDLERS)):
        with surviving():
            everything = snapshot(root)
            # If nothing differs, the run itself wrote the files, or a file was saved unchanged.
            before, seen = seen, _watched(everything)
            if seen != before and unchanged(open_cache(root, everything), everything) is None:
                click.echo(f"\n{', '.join(paths) or CONTRACTS + '/'} changed")
                _run(root, everything, force=force)
                prepare()


def _watched(everything: Snapshot) -> Snapshot:
    """The content of each watched file."""
    return {name: digest for name, digest in everything.items() if name.startswith((CONTRACTS, HANDLERS))}


@contextmanager
def surviving(all_but: tuple[type[Exception], ...] = (), say: str = _WATCHING) -> Generator[None]:
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
        click.echo(say)


def _run(root: Path, before: Snapshot, *, force: bool) -> None:
    """Raises UsageError where buf is not installed."""
    began = time.monotonic()
    generate_again(root, before, force=force)
    click.echo(f"{time.monotonic() - began:.2f} s; {_WATCHING}")


def generate_again(
    root: Path, before: Snapshot, *, force: bool = False, report: Callable[[Changes], None] = report_changes
) -> bool:
    """Bring the files in line, and show what is in the way; false if something is. `before`: the snapshot of now.

    Raises UsageError where buf is not installed.
    """
    try:
        cache = replace(open_cache(root, before), reads=not force)
        built = Built.latest(cache) if is_self_contained(root) else None
        with loading(root, built, protos(before)) as started:
            return run(started, cache, before, force=force, report=report) == 0
    except BufMissing as error:
        raise click.UsageError(str(error)) from None
    except click.ClickException as error:
        error.show()
        return False
