"""`sagagen check`: report every mistake in the contract."""

import sys
from pathlib import Path

import click

from sagagen.cli.report import FORMATS, Format, print_diagnostics, summary
from sagagen.contract import BufMissing, read_contract
from sagagen.contract.model import Mesh
from sagagen.diagnostics import has_errors
from sagagen.workspace.project import ProjectNotFound, find_root


@click.command()
@click.option(
    "--format",
    "output_format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="For people, for programs, or as annotations of a pull request.",
)
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder; else the nearest one upwards with contracts/saga.yaml.",
)
def check(output_format: Format, directory: Path | None) -> None:
    """Report every mistake in the contract: the protos and saga.yaml.

    Exits 0 if the mesh can be generated (warnings do not prevent that), 1 if there are errors.
    """
    try:
        mesh, diagnostics = read_contract(find_root(directory))
    except (ProjectNotFound, BufMissing) as error:
        raise click.UsageError(str(error)) from error
    print_diagnostics(diagnostics, sys.stdout, output_format)
    if output_format == "text":
        verdict = summary(diagnostics) or "no findings"
        click.echo(f"{_size(mesh)}: {verdict}" if mesh is not None else verdict, err=True)
    if has_errors(diagnostics):
        raise SystemExit(1)


def _size(mesh: Mesh) -> str:
    counts = ((len(mesh.services), "service"), (len(mesh.sagas), "saga"), (len(mesh.routes), "route"))
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts)
