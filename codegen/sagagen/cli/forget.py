"""`sagagen forget`: erase what is kept of a person."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click

from sagagen.cli.data_folder import Kept, data_folder, kept_in
from sagagen.cli.sagas_source import HAS_THE_FILE
from sagagen.cli.sagas_user import os_user
from sagagen.runtime.audit.entry import AuditEntry, Result
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.log.erasing import StillOpen, forget_subject, sagas_of, vault_of
from sagagen.runtime.log.store import LogError
from sagagen.runtime.process.project import Project, ProjectError
from sagagen.runtime.service.sqlite_store.erasing import check_erasable, erase
from sagagen.runtime.startup import StartupError
from sagagen.runtime.vault.erasing import NotEmptied
from sagagen.runtime.vault.given import given_keys
from sagagen.workspace.project import ProjectNotFound, find_root


@click.command()
@click.argument("subject")
@click.option(
    "--log",
    "log_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The saga log; the services' databases lie beside it. Default: the project's (SAGAGEN_DATA_DIR).",
)
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
@click.option("--by", default=os_user, show_default="your user name", help="Your name, kept in the audit.")
@click.option("--note", default="", help="Why, without naming anybody; it is kept in the audit.")
def forget(subject: str, log_path: Path | None, directory: Path | None, by: str, note: str) -> None:
    """Erase what the saga log, and the services' records of calls, hold of SUBJECT.

    SUBJECT is what `subject:` of the contract's sagas gives. Their keys are destroyed, so nobody can read the data any
    more. That such requests were made stays known: one that comes again has no effect. Refused while a saga of SUBJECT
    is open. The mesh may run meanwhile. What services keep in tables of their own is theirs to erase.
    """
    if not subject:
        raise click.UsageError("SUBJECT is empty: sagas without a subject have none to forget")
    folder = log_path.parent if log_path else data_folder(None, directory)
    try:
        count = _forget(subject, log_path, folder, directory, by=by, note=note)
    except (StartupError, LogError, StillOpen, NotEmptied) as error:
        raise click.ClickException(str(error)) from error
    except sqlite3.Error as error:
        raise click.ClickException(f"{error}; give the same command again, it does what is left") from error
    if not count:
        click.echo("no saga has this subject: there is nothing to erase")
        return
    click.echo(
        f"erased: the data of {count} saga{'' if count == 1 else 's'}. A backup of before has them still"
    )


def _forget(
    subject: str, log_path: Path | None, folder: Path, directory: Path | None, *, by: str, note: str
) -> int:
    """How many sagas it was about. The log comes last: what is not erased yet is found by the same command again."""
    kept = kept_in(folder)
    path = log_path or next((each.path for each in kept if not each.service), None)
    if path is None:
        raise click.ClickException(f"{folder} has no saga log: name it with --log")
    with closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    ) as connection:
        vault = vault_of(connection, path, given_keys(os.environ, root=directory))
        ids = [each.saga_id for each in sagas_of(connection, vault, subject)]
    services = _services(kept, folder, directory)
    for each in services:
        check_erasable(each.path, ids)
    for each in services:
        erase(each.path, ids)
    user = os_user()
    entry = AuditEntry(
        SystemClock().wall_ms(),
        by,
        "forget",
        Result.DONE if ids else Result.REPEATED,
        reason=note,
        scheme=HAS_THE_FILE,
        address=f"user {user} of this machine",
        count=max(1, len(ids)),
    )
    forget_subject(path, vault, subject, entry)
    return len(ids)


def _services(kept: Sequence[Kept], folder: Path, directory: Path | None) -> Sequence[Kept]:
    """The services' databases. Raises ClickException where the project has a service whose database is not there."""
    found = [each for each in kept if each.service]
    try:
        mesh = Project.load(find_root(directory)).mesh
    except (ProjectNotFound, ProjectError):
        return found
    missing = {service.name for service in mesh.services} - {each.service for each in found}
    if missing:
        raise click.ClickException(
            f"{folder} has no database of {', '.join(sorted(missing))}, and what is kept there has to be erased too: "
            "ask the running gateway, which reaches all of them, with --admin"
        )
    return found
