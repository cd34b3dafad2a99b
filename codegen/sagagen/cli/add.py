"""`sagagen add`: services, rpcs, sagas and steps into the contract, all else in it left as it is."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

from sagagen.cli.report import print_diagnostics
from sagagen.contract import BufMissing
from sagagen.editing.addition import Addition, carry_out
from sagagen.editing.contract import Contract
from sagagen.editing.rpcs import add_rpc
from sagagen.editing.sagas import NewStep, add_saga, add_step
from sagagen.editing.services import add_service
from sagagen.editing.text import CannotAdd
from sagagen.runtime.definition import StepKind
from sagagen.workspace.project import ProjectNotFound, find_root

project_option = click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder; else the nearest one upwards with contracts/saga.yaml.",
)


@click.group()
def add() -> None:
    """Add to the contract. Comments, order and layout of what is there stay as they are."""


@add.command()
@click.argument("name")
@click.option(
    "--implements", metavar="PACKAGE.SERVICE", help="A proto service; made if no proto declares it."
)
@project_option
def service(name: str, implements: str | None, directory: Path | None) -> None:
    """Add the service NAME to the mesh, with a proto service to put rpcs into."""
    _carry_out(directory, f"the service {name}", lambda contract: add_service(contract, name, implements))


@add.command()
@click.argument("name", metavar="SERVICE/METHOD")
@click.option(
    "--read", "is_read", is_flag=True, help="It changes nothing (idempotency_level = NO_SIDE_EFFECTS)."
)
@click.option("--http", metavar="'VERB /PATH'", help="Its route, for example 'POST /orders'.")
@project_option
def rpc(name: str, is_read: bool, http: str | None, directory: Path | None) -> None:
    """Add an rpc, with its request and response, to a service of the mesh.

    SERVICE may also be the full name of a proto service that no service implements: its rpcs start sagas.
    """
    _carry_out(
        directory, f"the rpc {name}", lambda contract: add_rpc(contract, name, is_read=is_read, http=http)
    )


@add.command()
@click.argument("name")
@click.option("--trigger", required=True, metavar="PACKAGE.SERVICE/METHOD", help="The rpc that starts it.")
@project_option
def saga(name: str, trigger: str, directory: Path | None) -> None:
    """Add the saga NAME, which steps can be added to then."""
    _carry_out(directory, f"the saga {name}", lambda contract: add_saga(contract, name, trigger))


@add.command()
@click.argument("saga")
@click.argument("name")
@click.option("--call", required=True, metavar="SERVICE/METHOD", help="What it does.")
@click.option("--compensate", metavar="SERVICE/METHOD|none", help="What undoes that.")
@click.option(
    "--after", metavar="STEP", help="The step before it; else it goes to the end, or before the pivot."
)
@click.option(
    "--kind", type=click.Choice([kind.value for kind in StepKind]), help="Else what fits the place."
)
@project_option
def step(
    saga: str,
    name: str,
    call: str,
    compensate: str | None,
    after: str | None,
    kind: str | None,
    directory: Path | None,
) -> None:
    """Add the step NAME to SAGA.

    What can be undone goes before the pivot, what comes after it is retriable.
    """
    new = NewStep(saga, name, call, compensate, after, StepKind(kind) if kind else None)
    _carry_out(directory, f"the step {name}", lambda contract: add_step(contract, new))


def _carry_out(directory: Path | None, what: str, plan: Callable[[Contract], Addition | None]) -> None:
    try:
        contract = Contract.read(find_root(directory))
        addition = plan(contract)
        if addition is None:
            click.echo(f"{what} is there already: nothing was changed")
            return
        added = carry_out(contract, addition)
    except (ProjectNotFound, BufMissing, CannotAdd) as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
    for change in added.changes:
        click.echo(change)
    print_diagnostics(added.findings, sys.stdout)
    click.echo(f"Next: {', then '.join(added.next)}")
