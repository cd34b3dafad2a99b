"""`sagagen generate`: emit the mesh from the contract, or say how the disk differs from it."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from sagagen.cli.report import print_diagnostics, summary
from sagagen.contract import BufMissing, read_contract
from sagagen.contract.model import Mesh
from sagagen.diagnostics import has_errors
from sagagen.emit.files import File
from sagagen.emit.render import emit
from sagagen.workspace.comparison import Difference, compare
from sagagen.workspace.project import ProjectNotFound, find_root
from sagagen.workspace.writing import Changes, write


@click.command()
@click.option(
    "--check", "only_compare", is_flag=True, help="Write nothing; exit 1 and name the files that differ."
)
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder; else the nearest one upwards with contracts/saga.yaml.",
)
def generate(only_compare: bool, directory: Path | None) -> None:
    """Emit the mesh from the contract: all of generated/, and handlers/ and gateway/ where there are none."""
    try:
        root = find_root(directory)
        mesh = _mesh(root)
    except (ProjectNotFound, BufMissing) as error:
        raise click.UsageError(str(error)) from None
    files = emit(mesh)
    if only_compare:
        _report_differences(compare(root, files))
    else:
        _report_changes(_write(root, files))


def _mesh(root: Path) -> Mesh:
    """The contract's mesh; says what is wrong with it, and exits with 1 if that is more than a warning."""
    mesh, diagnostics = read_contract(root)
    print_diagnostics(diagnostics, sys.stderr)
    if mesh is None or has_errors(diagnostics):
        raise click.ClickException(f"nothing generated: {summary(diagnostics)}")
    return mesh


def _write(root: Path, files: Sequence[File]) -> Changes:
    try:
        return write(root, files)
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error


def _report_differences(differences: Sequence[Difference]) -> None:
    for difference in differences:
        click.echo(f"{difference.kind.value:8} {difference.path}")
    if differences:
        count = "1 file differs" if len(differences) == 1 else f"{len(differences)} files differ"
        raise click.ClickException(f"{count} from what the contract emits; run `sagagen generate`")
    click.echo("the mesh on disk is what the contract emits")


def _report_changes(changes: Changes) -> None:
    for what, paths in (
        ("created", changes.created),
        ("updated", changes.updated),
        ("removed", changes.removed),
    ):
        for path in paths:
            click.echo(f"{what:8} {path}")
    for path in changes.left:
        click.echo(f"left     {path}: the generator did not write it, or it was edited since", err=True)
    if not (changes.created or changes.updated or changes.removed):
        click.echo("nothing to do: the mesh on disk is what the contract emits")
