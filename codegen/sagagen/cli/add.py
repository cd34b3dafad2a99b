"""`sagagen add`: puts services, rpcs, sagas, events and steps into the contract, and leaves all else as it is.

`sagagen add store` drafts SQL files.
"""

from collections.abc import Mapping
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
    """Add to the contract, or a store to a service. Existing comments, order and layout stay as they are."""


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
    "--rpc",
    required=True,
    metavar="PACKAGE.SERVICE/METHOD",
    help="The rpc that brings it; no service implements it.",
    shell_complete=complete_rpcs,
)
@click.option(
    "--saga-id",
    metavar="EXPRESSION",
    help="Which saga it is for. Default: the only field of the request whose name ends in id.",
)
@project_option
def event(saga: str, name: str, rpc: str, saga_id: str | None, directory: Path | None) -> None:
    """Add the event NAME to SAGA; then add a step that waits for it, with `sagagen add step --wait`."""
    from sagagen.cli import add_run

    add_run.event(directory, saga, name, rpc=rpc, saga_id=saga_id)


@add.command()
@click.argument("saga", shell_complete=complete_sagas)
@click.argument("name")
@click.option(
    "--call",
    metavar="SERVICE/METHOD",
    help="The rpc that the step calls.",
    shell_complete=complete_calls,
)
@click.option("--wait", metavar="EVENT", help="The event of the saga that the step waits for.")
@click.option("--delay", metavar="DURATION", help="How long it takes, for example 24h.")
@click.option("--parallel", metavar="BRANCH,BRANCH", help="The branches of a block, to add steps to.")
@click.option(
    "--compensate",
    metavar="SERVICE/METHOD|none",
    help="The rpc that undoes a call, or none.",
    shell_complete=complete_calls,
)
@click.option("--within", metavar="DURATION", help="How long a wait lasts.")
@click.option(
    "--after",
    metavar="STEP",
    help="The step that it follows, which may stand in a branch. Default: the end, or before the pivot.",
    shell_complete=complete_steps,
)
@click.option("--in", "branch", metavar="BLOCK/BRANCH", help="The branch whose last step it becomes.")
@click.option("--kind", type=click.Choice(_KINDS), help="Default: what fits the place.")
@project_option
def step(directory: Path | None, saga: str, name: str, parallel: str | None, **options: str | None) -> None:
    """Add the step NAME to SAGA: a call, a wait, a delay, or a block of parallel branches.

    A step that can be undone goes before the pivot; a step after the pivot is retriable. If the saga is already
    deployed, run `sagagen bump SAGA` first: open sagas then end as they began.
    """
    from sagagen.cli import add_run
    from sagagen.editing.steps import NewStep
    from sagagen.runtime.model.definition import StepKind

    _check_options(parallel, options)
    kind = options.pop("kind")
    branches = tuple(part.strip() for part in parallel.split(",")) if parallel else ()
    new = NewStep(saga, name, parallel=branches, kind=StepKind(kind) if kind else None, **options)
    add_run.step(directory, new)


@add.command()
@click.argument("service", shell_complete=complete_services)
@click.argument("kind", metavar="postgres", type=click.Choice(("postgres",)))
@click.option("--check", "is_check", is_flag=True, help="Write nothing: say what is missing, or left to do.")
@click.option("--overwrite", "overwrites", is_flag=True, help="Draft files anew that are there already.")
@project_option
def store(service: str, kind: str, is_check: bool, overwrites: bool, directory: Path | None) -> None:
    """Draft SERVICE's SQL files for PostgreSQL from those for SQLite.

    handlers/order.sql becomes handlers/order.postgres.sql, and so do numbered changes. What has no counterpart there
    stays as a comment below a line `-- sagagen: ...` that says what to do; while there is one, the exit code is 1.
    Statements of the handlers that PostgreSQL would not take as SQLite does are listed.
    """
    from sagagen.cli import add_store

    assert kind == "postgres"
    if is_check and overwrites:
        raise click.UsageError("--check writes nothing: leave --overwrite out")
    add_store.store(directory, service, is_check=is_check, overwrites=overwrites)


def _check_options(parallel: str | None, options: Mapping[str, str | None]) -> None:
    """What fits one kind of step only. Raises UsageError."""
    verbs = {"parallel": parallel} | {verb: options[verb] for verb in ("call", "wait", "delay")}
    given = [f"--{verb}" for verb, value in verbs.items() if value]
    if len(given) != 1:
        said = " and ".join(given) or "none of them"
        raise click.UsageError(f"say one of --call, --wait, --delay and --parallel, not {said}")
    if options["compensate"] and given != ["--call"]:
        raise click.UsageError(f"--compensate is for a call: {given[0]} leaves nothing to undo")
    if options["within"] and given != ["--wait"]:
        raise click.UsageError("--within is for a wait; a delay says how long it takes: --delay 24h")
    if options["after"] and options["branch"]:
        raise click.UsageError("--after says the place already: leave --in out")
