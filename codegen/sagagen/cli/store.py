"""`sagagen store copy`: what a stopped service keeps, from its SQLite file to PostgreSQL or back."""

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sagagen.cli.completion_words import complete_services
from sagagen.cli.group import Group
from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import StartupError
from sagagen.workspace.project import find_root

if TYPE_CHECKING:
    from sagagen.runtime.model.definition import Service
    from sagagen.runtime.service.moving.copying import Copied

_POSTGRES = ("postgresql://", "postgres://")


@click.group(cls=Group)
def store() -> None:
    """Move a service's data to another store."""


@store.command()
@click.argument("service", shell_complete=complete_services)
@click.option(
    "--to", "target", metavar="URL|FILE", help="Default: what SAGAGEN_<SERVICE>_DATABASE_URL names."
)
@click.option(
    "--from",
    "source",
    metavar="FILE|URL",
    help="Default: the service's file in the data folder; with --to FILE what SAGAGEN_<SERVICE>_DATABASE_URL names.",
)
@click.option("--replace", "replaces", is_flag=True, help="Delete the rows that the target has already.")
@click.option("-o", "--output", type=click.Choice(("text", "json")), default="text", show_default=True)
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
def copy(
    service: str, target: str | None, source: str | None, replaces: bool, output: str, directory: Path | None
) -> None:
    """Copy the tables and the barrier of SERVICE, which is stopped, from SQLite to PostgreSQL or back.

    All or nothing: one transaction, after which each table is read again and compared with what was sent. The source is
    only read. A URL on the command line is seen by other users of the machine; the environment keeps its password.
    """
    try:
        root = find_root(directory)
        project = Project.load(root)
        known = _known(project, service)
        ends = _ends(Settings.read(os.environ, root), known, source, target)
        copied = asyncio.run(_copy(root, known, *ends, replaces=replaces))
    except StartupError as error:
        raise click.ClickException(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        raise click.ClickException(f"{error}; nothing was copied") from error
    if output == "json":
        tables = [{"table": each.table, "rows": each.rows, "digest": each.digest} for each in copied]
        click.echo(json.dumps({"service": service, "tables": tables}))
        return
    rows = sum(each.rows for each in copied)
    click.echo(f"copied: {len(copied)} tables, {rows} rows, each compared with what was sent")
    click.echo(_next(service, ends[1]))


def _known(project: Project, name: str) -> "Service":
    services = {service.name: service for service in project.mesh.services}
    if name not in services:
        raise click.UsageError(f'there is no service "{name}"; there are: {", ".join(services)}')
    return services[name]


def _ends(settings: Settings, service: "Service", source: str | None, target: str | None) -> tuple[str, str]:
    """From where, and to where."""
    variable = f"SAGAGEN_{service.name.upper()}_DATABASE_URL"
    address = settings.service_database(service)
    named = address.url.current.decode() if address else ""
    file = str(settings.data_dir / f"{service.name}.db")
    target = target or named
    if not target:
        raise click.UsageError(f"say where to: --to URL, or set {variable}")
    if source is None:
        source = file if _is_url(target) else named
        if not source:
            raise click.UsageError(f"say from where: --from URL, or set {variable}")
    if _is_url(source) == _is_url(target):
        tool = (
            "pg_dump and pg_restore"
            if _is_url(source)
            else "`sagagen backup`, or a copy of the stopped service's file"
        )
        raise click.UsageError(
            f"one is to be a file and the other a URL of PostgreSQL; between equals use {tool}"
        )
    return source, target


def _is_url(place: str) -> bool:
    if "://" in place and not place.startswith(_POSTGRES):
        raise click.UsageError(
            f"{place.partition('://')[0]}:// is no store; write postgresql://user@host:5432/database, or a file"
        )
    return place.startswith(_POSTGRES)


async def _copy(
    root: Path, service: "Service", source: str, target: str, *, replaces: bool
) -> "Sequence[Copied]":
    try:
        from sagagen.runtime.service.moving.between import to_postgres, to_sqlite
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise click.ClickException("asyncpg is not installed: pip install 'sagagen[postgres]'") from error
    schema = root / service.schema
    move = to_postgres if _is_url(target) else to_sqlite
    return await move(service.name, source, target, schema, _tell, replaces=replaces)


def _tell(table: str, rows: int, total: int) -> None:
    """To people; what a script reads is on the other stream."""
    if rows == total:
        click.echo(f"{table}: {total} rows", err=True)
    elif sys.stderr.isatty():
        click.echo(f"{table}: {rows} of {total} rows\r", err=True, nl=False)


def _next(service: str, target: str) -> str:
    variable = f"SAGAGEN_{service.upper()}_DATABASE_URL"
    if _is_url(target):
        return (
            f"Next: start {service} with {variable}, and move its old file away: whoever starts on that again does "
            "what was done since a second time"
        )
    return f"Next: start {service} without {variable}, on {target}"
