"""`sagagen keys rotate`: the keys that data are encrypted by."""

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import click

from sagagen.cli.data_folder import Kept, data_folder, kept_in
from sagagen.cli.postgres_services import log_url, postgres_services, with_connection, with_log
from sagagen.runtime.sqlite.lock import LogLocked, OwnerLock
from sagagen.runtime.startup import StartupError
from sagagen.runtime.vault.given import given_keys
from sagagen.runtime.vault.keys import VARIABLE, KeyWrapper


@click.command()
@click.option(
    "--data",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder with the databases. Default: the project's (SAGAGEN_DATA_DIR).",
)
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
def rotate(folder: Path | None, directory: Path | None) -> None:
    """Wrap every data key by the first key, so that the others may go.

    Put the new key first in the file that SAGAGEN_ENCRYPTION_KEYS_FILE names, and start the processes again with it.
    Then rotate: the mesh may run meanwhile, and the command may be stopped and given again at any time. It says which
    keys are used no more.
    """
    old: set[str] = set()
    try:
        url = log_url()
        where = data_folder(folder, directory, may_be_missing=url is not None)
        kept = [each for each in kept_in(where) if each.is_encrypted]
        on_postgres = [
            _rotated_on_postgres(name, database, given_keys(os.environ, name, directory))
            for name, database in postgres_services(directory).items()
        ]
        if url:
            on_postgres.append(_rotated_log(url, given_keys(os.environ, root=directory)))
        if not kept and not any(each is not None for each in on_postgres):
            raise click.ClickException("no database there is encrypted: there is nothing to rotate")
        for dropped in on_postgres:
            old |= dropped or set()
        for each in kept:
            wrapper = given_keys(os.environ, each.service, directory)
            if wrapper is None:
                raise click.ClickException(
                    f"{VARIABLE} is not set: name the file with the keys, the new one first"
                )
            old |= _rotated(each, wrapper)
    except StartupError as error:
        raise click.ClickException(str(error)) from error
    except sqlite3.Error as error:
        raise click.ClickException(f"{error}; give the same command again, it does what is left") from error
    if old:
        click.echo(f"{', '.join(sorted(old))} may go, once every other host's databases are rotated too")


def _rotated(kept: Kept, wrapper: KeyWrapper) -> set[str]:
    """Ids of the keys that this database needs no more."""
    from sagagen.runtime.vault.rotation import rotate as rotate_database

    with _owning(kept.path) as is_at_rest, closing(kept.opened()) as connection:
        done = rotate_database(connection, wrapper, kept.tables(), str(kept.path), is_at_rest=is_at_rest)
    click.echo(f"{kept.path.name}: {done.rewrapped} keys are wrapped by {wrapper.first} now")
    return set(done.dropped)


def _rotated_on_postgres(service: str, url: str, wrapper: KeyWrapper | None) -> set[str] | None:
    """The same; None where the database is not encrypted."""
    from sagagen.runtime.service.postgres_store import keys  # which needs asyncpg

    if wrapper is None:
        raise click.ClickException(f"{VARIABLE} is not set: name the file with the keys, the new one first")
    done = with_connection(service, url, partial(keys.rotate, service=service, wrapper=wrapper))
    if done is None:
        return None
    click.echo(f"{service} on PostgreSQL: {done.rewrapped} keys are wrapped by {wrapper.first} now")
    return set(done.dropped)


def _rotated_log(url: str, wrapper: KeyWrapper | None) -> set[str] | None:
    """The same, of a saga log in PostgreSQL."""
    from sagagen.runtime.postgres_log import keys  # which needs asyncpg

    if wrapper is None:
        raise click.ClickException(f"{VARIABLE} is not set: name the file with the keys, the new one first")
    done = with_log(url, partial(keys.rotate, wrapper=wrapper))
    if done is None:
        return None
    click.echo(f"the saga log on PostgreSQL: {done.rewrapped} keys are wrapped by {wrapper.first} now")
    return set(done.dropped)


@contextmanager
def _owning(path: Path) -> Generator[bool]:
    """Own the database while nobody else does; false where a process runs on it."""
    lock = OwnerLock(path)
    try:
        lock.acquire()
    except LogLocked:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
