"""What `sagagen generate` does when there may be something to do. Each function returns the exit code."""

import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager

import click

from sagagen.cache import Cache
from sagagen.cli.report import print_diagnostics, summary
from sagagen.contract import Loading
from sagagen.diagnostics import has_errors
from sagagen.workspace import no_change
from sagagen.workspace.comparison import Difference, Kind
from sagagen.workspace.generation import Generation, generation
from sagagen.workspace.preview import preview
from sagagen.workspace.snapshot import Snapshot, after, has_same_contract, is_self_contained, protos
from sagagen.workspace.writing import Changes


def run(
    started: Loading,
    cache: Cache,
    before: Snapshot,
    *,
    force: bool,
    report: Callable[[Changes], None] | None = None,
) -> int:
    """Bring the files in line. 1 if the contract has errors, a hand edit is in the way, or a handler cannot be read.

    `before`: the snapshot of the project before the contract was read. `report` says what was written, and no progress
    is shown then.
    """
    root = started.root
    made = _make(started, cache, before, is_quiet=report is not None)
    is_known = is_self_contained(root) and has_same_contract(root, before)
    if is_known and (built := started.built(protos(before))):
        built.keep(cache)
    if made.mesh is None:
        return _refuse(made)
    if not force and (edited := made.edited()):
        return _refuse_edits(edited)
    try:
        changes = made.write()
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
    (report or report_changes)(changes)
    print_diagnostics(made.findings, sys.stderr)
    if has_errors(made.findings):
        return 1
    if is_known and not (changes.left or changes.busy):
        warnings = (*made.diagnostics, *made.findings)
        no_change.remember(cache, _left_behind(before, made, changes), warnings)
    cache.trim()
    return 0


def check(started: Loading, cache: Cache, before: Snapshot) -> int:
    """Report what differs. The cache is empty, so no earlier run is trusted: everything is made again, and compared."""
    made = _make(started, cache, before)
    if made.mesh is None:
        return _refuse(made)
    differences = made.differences()
    for difference in differences:
        click.echo(f"{difference.kind.value:8} {difference.path}")
    print_diagnostics(made.findings, sys.stderr)
    if differences:
        count = "1 file differs" if len(differences) == 1 else f"{len(differences)} files differ"
        click.echo(f"Error: {count} from what the contract emits; {_cure(differences)}", err=True)
    elif not has_errors(made.findings):
        click.echo("the mesh on disk is what the contract emits")
    return 1 if differences or has_errors(made.findings) else 0


def show(started: Loading, cache: Cache, before: Snapshot) -> int:
    """Preview what a run would change, as a unified diff."""
    made = _make(started, cache, before)
    if made.mesh is None:
        return _refuse(made)
    print_diff(preview(made.differences()))
    print_diagnostics(made.findings, sys.stderr)
    if edited := made.edited():
        click.echo(f"edited by hand, so written only with --force: {', '.join(edited)}", err=True)
    return 1 if has_errors(made.findings) else 0


def print_diff(lines: Iterator[str]) -> None:
    """Coloured on a terminal; elsewhere click leaves the colours out."""
    for line in lines:
        if line.startswith(("--- ", "+++ ")):
            click.secho(line, bold=True, nl=False)
        elif colour := {"+": "green", "-": "red", "@": "cyan"}.get(line[:1]):
            click.secho(line, fg=colour, nl=False)
        else:
            click.echo(line, nl=False)


def _make(started: Loading, cache: Cache, disk: Snapshot, *, is_quiet: bool = False) -> Generation:
    with _progress(is_quiet) as progress:
        made = generation(started, cache, disk, progress)
        print_diagnostics(made.diagnostics, sys.stderr)
        return made


@contextmanager
def _progress(is_quiet: bool) -> Generator[Callable[[str], None]]:
    """Shows progress on a terminal; but not in CI, since some services provide a terminal and keep every line."""
    if is_quiet or not sys.stderr.isatty() or os.environ.get("CI"):
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield lambda what: status.update(f"{what} ...")


def _refuse(made: Generation) -> int:
    click.echo(f"Error: nothing generated: {summary(made.diagnostics)}", err=True)
    return 1


def _refuse_edits(edited: Sequence[str]) -> int:
    for path in edited:
        click.echo(f"{Kind.EDITED.value:8} {path}", err=True)
    what = "1 file was" if len(edited) == 1 else f"{len(edited)} files were"
    click.echo(
        f"Error: nothing generated: {what} edited by hand and would be overwritten. Move the edits to the contract, "
        "handlers/ or gateway/; `sagagen generate --diff` shows them, `--force` overwrites them",
        err=True,
    )
    return 1


def _cure(differences: Sequence[Difference]) -> str:
    edited = any(difference.kind is Kind.EDITED for difference in differences)
    force = " (with --force, which overwrites what was edited by hand)" if edited else ""
    return f"run `sagagen generate`{force}"


def _left_behind(before: Snapshot, made: Generation, changes: Changes) -> Snapshot:
    contents = {file.path: file.content for file in made.files}
    written = {path: contents[path] for path in (*changes.created, *changes.updated)}
    synced = {handler.path: handler.content for handler in changes.synced}
    return after(before, {**written, **synced}, changes.removed)


def report_changes(changes: Changes) -> None:
    """A line for each file."""
    for what, paths in (
        ("created", changes.created),
        ("updated", changes.updated),
        ("removed", changes.removed),
    ):
        for path in paths:
            click.echo(f"{what:8} {path}")
    for handler in changes.synced:
        for method in handler.added:
            click.echo(f"added    {handler.path}: {method}")
        for method in handler.followed:
            click.echo(f"followed {handler.path}: the types of {method}")
    for path in changes.left:
        click.echo(f"left     {path}: not written by the generator, or edited since", err=True)
    for path in changes.busy:
        click.echo(f"left     {path}: saved in the meantime; run `sagagen generate` again", err=True)
    if not (changes.created or changes.updated or changes.removed or changes.synced):
        click.echo("nothing to do: the mesh on disk is what the contract emits")
