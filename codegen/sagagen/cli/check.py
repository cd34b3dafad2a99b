"""`sagagen check`: report every mistake in the contract."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from sagagen.cli.diff_running import read_open_sagas
from sagagen.cli.report import FORMATS, Format, print_diagnostics, summary
from sagagen.cli.sagas_listener import AdminError
from sagagen.compatibility.running import OpenSaga
from sagagen.contract import BufMissing, read_contract
from sagagen.contract.codes import Code
from sagagen.contract.model import Mesh
from sagagen.contract.security_checks import check_unsaid
from sagagen.diagnostics import Diagnostic, Severity, has_errors, in_order
from sagagen.runtime.log.store import LogError
from sagagen.runtime.sqlite.database import DatabaseError
from sagagen.workspace.project import ProjectNotFound, find_root


@click.command()
@click.option(
    "--format",
    "output_format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="text is for people, json for programs, github for annotations of a pull request.",
)
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
@click.option(
    "--running",
    metavar="FILE|URL",
    help="Also report older versions that no open saga needs. A saga log, or a gateway's admin listener.",
)
@click.option(
    "--token", envvar="SAGAGEN_ADMIN_TOKEN", default="", help="Token of the admin listener, if it needs one."
)
@click.option(
    "--security",
    "shows_security",
    is_flag=True,
    help="Show who may call each route, and what is limited, hidden and kept: as text, or with --format json.",
)
def check(
    output_format: Format, directory: Path | None, running: str | None, token: str, shows_security: bool
) -> None:
    """Report every mistake in the contract: the protos and saga.yaml.

    Exits 0 if the mesh can be generated (warnings do not prevent that), 1 if there are errors.
    """
    if shows_security and output_format == "github":
        raise click.UsageError("--security is for people and programs: --format is text or json")
    try:
        mesh, diagnostics = read_contract(find_root(directory))
        if mesh is not None:
            diagnostics = in_order([*diagnostics, *check_unsaid(mesh)])
        if running and mesh is not None:
            diagnostics = in_order(
                [*diagnostics, *_drained(mesh, asyncio.run(read_open_sagas(running, token, mesh)))]
            )
    except (ProjectNotFound, BufMissing, AdminError, DatabaseError, LogError) as error:
        raise click.UsageError(str(error)) from error
    if shows_security and mesh is not None and not has_errors(diagnostics):
        _show_security(mesh, output_format)
        return
    print_diagnostics(diagnostics, sys.stdout, output_format)
    if output_format == "text":
        verdict = summary(diagnostics) or "no findings"
        click.echo(f"{_size(mesh)}: {verdict}" if mesh is not None else verdict, err=True)
    if has_errors(diagnostics):
        raise SystemExit(1)


def _show_security(mesh: Mesh, output_format: Format) -> None:
    from sagagen.cli.check_security import as_json, print_security  # few runs ask for it
    from sagagen.emit.security_report import security_report

    view = security_report(mesh)
    if output_format == "json":
        click.echo(as_json(view), nl=False)
    else:
        print_security(view)


def _drained(mesh: Mesh, found: Sequence[OpenSaga]) -> Iterator[Diagnostic]:
    """Older versions that could be deleted."""
    needed = {(saga.saga, saga.version) for saga in found}
    for saga in mesh.kept:
        if (saga.name, saga.version) not in needed:
            message = f"version {saga.version} of {saga.name} is kept, and no open saga runs on it"
            yield Diagnostic(
                saga.span, Severity.WARNING, Code.KEPT_DRAINED, message, f"delete {saga.span.path}"
            )


def _size(mesh: Mesh) -> str:
    counts = ((len(mesh.services), "service"), (len(mesh.sagas), "saga"), (len(mesh.routes), "route"))
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts)
