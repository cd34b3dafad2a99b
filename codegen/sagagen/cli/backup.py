"""`sagagen backup`: a copy of the saga log and the services' databases, in the order that a restore can live with."""

import os
import sqlite3
from pathlib import Path

import click

from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import Settings
from sagagen.runtime.sqlite.copying import copy_database
from sagagen.runtime.startup import StartupError
from sagagen.workspace.project import find_root


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
def backup(folder: Path, directory: Path | None) -> None:
    """Copy the saga log and then the services' databases to the new folder DIR.

    The mesh may run meanwhile. The log comes first: a service that remembers more than the log answers the repeat of
    a call from its memory, while a log that remembers more than a service would take an effect for done that is lost.
    docs/backup.md says how to restore.
    """
    try:
        project = Project.load(find_root(directory))
        settings = Settings.read(os.environ, project.root)
    except StartupError as error:
        raise click.ClickException(str(error)) from error
    services = [settings.data_dir / f"{service.name}.db" for service in project.mesh.services]
    files = [settings.saga_log, *services]
    here = [file for file in files if file.exists()]
    if not here:
        raise click.ClickException(
            f"{settings.data_dir} has no database of this project; set SAGAGEN_DATA_DIR to where its data is kept"
        )
    _make(folder)
    for file in files:
        if file in here:
            click.echo(f"{file.name}: {_copied(file, folder / file.name)} bytes")
        else:
            click.echo(f"{file.name}: not in {settings.data_dir}, left out", err=True)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"{folder} can't be made: {error.strerror}") from error
    if any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty: a backup gets a folder of its own")


def _copied(file: Path, target: Path) -> int:
    try:
        return copy_database(file, target)
    except StartupError as error:
        raise click.ClickException(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise click.ClickException(f"{file} can't be copied to {target}: {why}") from error
