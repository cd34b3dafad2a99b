"""`sagagen bump`: raise a saga's version and keep the old one beside it."""

from pathlib import Path

import click

from sagagen.cli.completion_words import complete_sagas
from sagagen.workspace.project import ProjectNotFound, find_root


@click.command()
@click.argument("saga", shell_complete=complete_sagas)
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
def bump(saga: str, directory: Path | None) -> None:
    """Raise the version of SAGA, and keep the old one for open sagas.

    Do this before a breaking change. New sagas take the new version, open sagas end on theirs.
    """
    from sagagen.workspace.versions import CannotBump
    from sagagen.workspace.versions import bump as bump_saga

    try:
        bumped = bump_saga(find_root(directory), saga)
    except (ProjectNotFound, CannotBump) as error:
        raise click.UsageError(str(error)) from error
    old = bumped.version - 1
    click.echo(f"{bumped.kept}: version {old} for open sagas; `sagagen sagas stats` says when it can go")
