"""`sagagen backup`: a copy of the saga log and the services' databases, in the order that a restore can live with."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from sagagen.cli import backup_manifest, backup_postgres
from sagagen.cli.backup_manifest import Copy, Kind
from sagagen.cli.group import Group
from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import Settings
from sagagen.runtime.sqlite.copying import copy_database
from sagagen.runtime.startup import StartupError
from sagagen.workspace.project import find_root

_MAKE = "make"


class _BackupGroup(Group):
    """`sagagen backup DIR` makes one; the other commands have names."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = [_MAKE, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_BackupGroup, subcommand_metavar="DIR | verify DIR")
def backup() -> None:
    """Copy the saga log and then the services' databases to the new folder DIR.

    The mesh may run meanwhile. The log comes first: a service that remembers more than the log answers the repeat of
    a call from its memory, while a log that remembers more than a service would take an effect for done that is lost.
    Databases in PostgreSQL are copied by pg_dump, where that is in PATH. manifest.json says what was copied, and when.
    docs/backup.md says how to restore.
    """


@backup.command(name=_MAKE, hidden=True)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
def make(folder: Path, directory: Path | None) -> None:
    """Copy the saga log and then the services' databases to the new folder DIR."""
    try:
        project = Project.load(find_root(directory))
        settings = Settings.read(os.environ, project.root)
        databases = _databases(project, settings)
    except StartupError as error:
        raise click.ClickException(str(error)) from error
    on_sqlite = [service.name for service in project.mesh.services if service.name not in _all(databases)]
    files = [settings.saga_log, *(settings.data_dir / f"{name}.db" for name in on_sqlite)]
    here = [file for file in files if file.exists()]
    if not here and not databases:
        raise click.ClickException(
            f"{settings.data_dir} has no database of this project; set SAGAGEN_DATA_DIR to where its data is kept"
        )
    _make(folder)
    left_out: list[str] = []
    copies = [*_sqlite(files, here, folder, settings, left_out), *_postgres(databases, folder, left_out)]
    backup_manifest.manifest_of(project.mesh.project, copies, left_out).write(folder)


@backup.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
def verify(folder: Path) -> None:
    """Look whether the backup in DIR is whole: its files, their SHA-256, and each database from within."""
    try:
        manifest = backup_manifest.read(folder)
    except backup_manifest.NoBackup as error:
        raise click.ClickException(str(error)) from error
    found = list(backup_manifest.problems(folder, manifest))
    for problem in found:
        click.echo(problem, err=True)
    if found:
        raise click.ClickException(f"{folder} is not whole: do not restore from it")
    for copy in manifest.copies:
        click.echo(f"{copy.file}: {copy.bytes} bytes, of {copy.at}")
    if manifest.left_out:
        click.echo(f"not in it: {', '.join(manifest.left_out)}", err=True)
    click.echo(f"whole, made by sagagen {manifest.sagagen}; docs/backup.md says how to restore it")


def _databases(project: Project, settings: Settings) -> dict[str, list[str]]:
    """URLs of PostgreSQL, with the services on each."""
    found: dict[str, list[str]] = {}
    for service in project.mesh.services:
        if address := settings.service_database(service):
            found.setdefault(address.url.current.decode(), []).append(service.name)
    return found


def _all(databases: dict[str, list[str]]) -> list[str]:
    return [name for names in databases.values() for name in names]


def _sqlite(
    files: Sequence[Path], here: Sequence[Path], folder: Path, settings: Settings, left_out: list[str]
) -> Iterator[Copy]:
    for file in files:
        kind: Kind = "saga log" if file == settings.saga_log else "sqlite"
        if file not in here:
            click.echo(f"{file.name}: not in {settings.data_dir}, left out", err=True)
            left_out.append(file.stem)
            continue
        begun = _now()
        click.echo(f"{file.name}: {_copied(file, folder / file.name)} bytes")
        yield _entry(file.stem, folder / file.name, kind, begun)


def _postgres(databases: dict[str, list[str]], folder: Path, left_out: list[str]) -> Iterator[Copy]:
    """After the log, as every other database."""
    for url, services in databases.items():
        names = ", ".join(services)
        if not backup_postgres.has_tool():
            click.echo(
                f"{names}: on PostgreSQL, and pg_dump is not in PATH: left out. Dump it now, after the saga log, or "
                "keep an archive for point-in-time recovery (docs/backup.md)",
                err=True,
            )
            left_out += services
            continue
        target, begun = folder / f"{'+'.join(services)}.dump", _now()
        try:
            backup_postgres.dump(url, target)
        except backup_postgres.DumpFailed as error:
            raise click.ClickException(f"{names}: {error}") from error
        click.echo(f"{target.name}: {target.stat().st_size} bytes")
        yield _entry(",".join(services), target, "postgresql", begun)


def _entry(of: str, path: Path, kind: Kind, begun: str) -> Copy:
    version = 0 if kind == "postgresql" else backup_manifest.version_of(path, kind)
    return Copy(of, path.name, kind, path.stat().st_size, backup_manifest.digest_of(path), version, begun)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


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
