"""`sagagen forget`: erase what is kept of a person."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

import click

from sagagen.cli.data_folder import Kept, data_folder, kept_in
from sagagen.cli.postgres_services import log_url, postgres_services, with_connection
from sagagen.cli.sagas_source import HAS_THE_FILE
from sagagen.cli.sagas_user import os_user
from sagagen.cli.subject_logs import FileLog, LogOnPostgres, SubjectLog
from sagagen.runtime.audit.entry import AuditEntry, Result
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.log.store import LogError
from sagagen.runtime.process.project import Project, ProjectError
from sagagen.runtime.saga.subjects import StillOpen
from sagagen.runtime.service.sqlite_store.erasing import check_erasable, erase
from sagagen.runtime.startup import StartupError
from sagagen.runtime.vault.erasing import NotEmptied
from sagagen.workspace.project import ProjectNotFound, find_root


@click.command()
@click.argument("subject", default="")
@click.option(
    "--log",
    "log_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The saga log; the services' databases lie beside it. Default: the project's (SAGAGEN_ENGINE_URL where that "
    "is a PostgreSQL, or the file in SAGAGEN_DATA_DIR).",
)
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
@click.option("--list", "lists", is_flag=True, help="Only print the ids of SUBJECT's sagas; erase nothing.")
@click.option(
    "--sagas",
    "ids_file",
    type=click.File(),
    help="In place of SUBJECT, on a host that has services alone: the ids that --list has printed (- is stdin).",
)
@click.option(
    "--elsewhere",
    is_flag=True,
    help="Services whose databases are not here have been given their ids with --sagas.",
)
@click.option("--by", default=os_user, show_default="your user name", help="Your name, kept in the audit.")
@click.option("--note", default="", help="Why, without naming anybody; it is kept in the audit.")
def forget(
    subject: str,
    log_path: Path | None,
    directory: Path | None,
    lists: bool,
    ids_file: TextIO | None,
    elsewhere: bool,
    by: str,
    note: str,
) -> None:
    """Erase what the saga log, and the services' records of calls, hold of SUBJECT.

    SUBJECT is what `subject:` of the contract's sagas gives. Their keys are destroyed, so nobody can read the data any
    more. That such requests were made stays known: one that comes again has no effect. Refused while a saga of SUBJECT
    is open. The mesh may run meanwhile. What services keep in tables of their own is theirs to erase.
    """
    if bool(subject) == bool(ids_file):
        raise click.UsageError("name a SUBJECT, or --sagas; sagas without a subject have none to forget")
    try:
        place = _place(log_path, directory, is_elsewhere=elsewhere)
        if lists:
            click.echo("".join(f"{saga_id}\n" for saga_id in _log(place).sagas_of(subject)), nl=False)
            return
        count = _erased_here(ids_file, place) if ids_file else _forget(subject, place, by=by, note=note)
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


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the databases are."""

    folder: Path
    log_path: Path | None
    log_url: str | None
    """Of the PostgreSQL that has the saga log."""
    project: Path | None
    elsewhere: bool
    """Services whose databases are not in the folder are done."""


def _place(log_path: Path | None, project: Path | None, *, is_elsewhere: bool) -> _Place:
    """Raises StartupError or ClickException."""
    url = None if log_path else log_url()
    folder = log_path.parent if log_path else data_folder(None, project, may_be_missing=url is not None)
    return _Place(folder, log_path, url, project, is_elsewhere)


def _log(place: _Place) -> SubjectLog:
    if place.log_url:
        return LogOnPostgres(place.log_url, place.project)
    path = place.log_path or next((each.path for each in kept_in(place.folder) if not each.service), None)
    if path is None:
        raise click.ClickException(f"{place.folder} has no saga log: name it with --log")
    return FileLog(path, place.project)


def _erased_here(ids_file: TextIO, place: _Place) -> int:
    """In the services' databases of this host alone; how many sagas it was about."""
    ids = ids_file.read().split()
    _erase([each for each in kept_in(place.folder) if each.service], postgres_services(place.project), ids)
    return len(ids)


def _erase(services: Sequence[Kept], on_postgres: Mapping[str, str], ids: Sequence[str]) -> None:
    for each in services:
        check_erasable(each.path, ids)
    if on_postgres:
        from sagagen.runtime.service.postgres_store import keys  # which needs asyncpg

        for work in (keys.check_erasable, keys.erase):
            for name, url in on_postgres.items():
                with_connection(name, url, partial(work, service=name, saga_ids=ids))
    for each in services:
        erase(each.path, ids)


def _forget(subject: str, place: _Place, *, by: str, note: str) -> int:
    """How many sagas it was about. The log comes last: what is not erased yet is found by the same command again."""
    log = _log(place)
    ids = log.sagas_of(subject)
    on_postgres = postgres_services(place.project)
    _erase(_services(place, on_postgres), on_postgres, ids)
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
    log.forget(subject, entry)
    return len(ids)


def _services(place: _Place, on_postgres: Mapping[str, str]) -> Sequence[Kept]:
    """The services' files. Raises ClickException where the project has a service whose database is not there."""
    found = [each for each in kept_in(place.folder) if each.service]
    if place.elsewhere:
        return found
    try:
        mesh = Project.load(find_root(place.project)).mesh
    except (ProjectNotFound, ProjectError):
        return found
    missing = {service.name for service in mesh.services} - {each.service for each in found} - {*on_postgres}
    if missing:
        raise click.ClickException(
            f"{place.folder} has no database of {', '.join(sorted(missing))}, and what is kept there has to be erased "
            "first: print the sagas here with --list, give them to `sagagen forget --sagas FILE` there, and come back "
            "with --elsewhere"
        )
    return found
