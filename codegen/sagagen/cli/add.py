"""`sagagen add`: puts services, rpcs, sagas and steps into the contract, and leaves everything else in it as it is."""

from pathlib import Path

import click

from sagagen.cli.completion_words import (
    complete_calls,
    complete_rpcs,
    complete_sagas,
    complete_services,
    complete_steps,
)
from sagagen.cli.group import Group

_KINDS = ("compensatable", "pivot", "retriable")

project_option = click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)

# The work of a command is imported when it runs: the shell asks for options at each press of the tab key.


@click.group(cls=Group)
def add() -> None:
    """Add to the contract. Existing comments, order and layout stay as they are."""


@add.command()
@click.argument("name")
@click.option(
    "--implements", metavar="PACKAGE.SERVICE", help="A proto service; declared for you if no proto has it."
)
@project_option
def service(name: str, implements: str | None, directory: Path | None) -> None:
    """Add the service NAME to the mesh, with a proto service to put rpcs in."""
    from sagagen.cli import add_run

    add_run.service(directory, name, implements)


@add.command()
@click.argument("name", metavar="SERVICE/METHOD", shell_complete=complete_services)
@click.option(
    "--read", "is_read", is_flag=True, help="The rpc changes nothing (idempotency_level = NO_SIDE_EFFECTS)."
)
@click.option("--http", metavar="'VERB /PATH'", help="Its HTTP route, for example 'POST /orders'.")
@project_option
def rpc(name: str, is_read: bool, http: str | None, directory: Path | None) -> None:
    """Add an rpc, with its request and response, to a service of the mesh.

    SERVICE may also be the full name of a proto service that no service implements: its rpcs start sagas.
    """
    from sagagen.cli import add_run

    add_run.rpc(directory, name, is_read=is_read, http=http)


@add.command()
@click.argument("name")
@click.option(
    "--trigger",
    required=True,
    metavar="PACKAGE.SERVICE/METHOD",
    help="The rpc that starts it.",
    shell_complete=complete_rpcs,
)
@project_option
def saga(name: str, trigger: str, directory: Path | None) -> None:
    """Add the saga NAME; then add steps to it with `sagagen add step`."""
    from sagagen.cli import add_run

    add_run.saga(directory, name, trigger)


@add.command()
@click.argument("saga", shell_complete=complete_sagas)
@click.argument("name")
@click.option(
    "--call",
    required=True,
    metavar="SERVICE/METHOD",
    help="The rpc that the step calls.",
    shell_complete=complete_calls,
)
@click.option(
    "--compensate",
    metavar="SERVICE/METHOD|none",
    help="The rpc that undoes the step, or none.",
    shell_complete=complete_calls,
)
@click.option(
    "--after",
    metavar="STEP",
    help="The step that it follows. Default: the end, or before the pivot.",
    shell_complete=complete_steps,
)
@click.option("--kind", type=click.Choice(_KINDS), help="Default: what fits the place.")
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

    A step that can be undone goes before the pivot; a step after the pivot is retriable. If the saga is already
    deployed, run `sagagen bump SAGA` first: open sagas then end as they began.
    """
    from sagagen.cli import add_run

    add_run.step(directory, saga, name, call=call, compensate=compensate, after=after, kind=kind)
