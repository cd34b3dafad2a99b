"""The databases of a data folder, for commands about all of them."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import StartupError
from sagagen.workspace.project import ProjectNotFound, find_root

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import KeyTables

SAGA_LOG = "saga-log.db"
BUSY_S = 5.0
"""Seconds that are waited for another's write."""
_TABLES = "SELECT name FROM sqlite_master WHERE name IN ('event', 'sagagen_barrier', 'store_key', 'sagagen_store_key')"


@dataclass(frozen=True, slots=True)
class Kept:
    """A database of ours."""

    path: Path
    service: str
    """Whose it is; empty for the saga log."""
    is_encrypted: bool

    def opened(self) -> sqlite3.Connection:
        """For writing, beside the process that owns it; commits by itself."""
        uri = f"{self.path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S)

    def tables(self) -> "KeyTables":
        """Where its keys are."""
        if self.service:
            from sagagen.runtime.service.sqlite_store.keys import tables
        else:
            from sagagen.runtime.log.sealing import tables
        return tables()


def data_folder(given: Path | None, project: Path | None, *, may_be_missing: bool = False) -> Path:
    """The one that is given, or the project's. Raises ClickException.

    `may_be_missing`: what is kept may all be in PostgreSQL.
    """
    if given is not None:
        return given
    try:
        folder = Settings.read(os.environ, find_root(project)).data_dir
    except ProjectNotFound as error:
        raise click.ClickException(f"{error}; or name the folder with the databases with --data") from error
    except StartupError as error:
        raise click.ClickException(str(error)) from error
    if not folder.is_dir() and not may_be_missing:
        raise click.ClickException(
            f"there is no folder {folder}; set SAGAGEN_DATA_DIR to where the data are kept"
        )
    return folder


def kept_in(folder: Path) -> Sequence[Kept]:
    """The saga log, then the services' databases, by name. Raises ClickException for a file that can't be read."""
    found = [kept for path in sorted(folder.glob("*.db")) if (kept := _kept(path))]
    return sorted(found, key=lambda each: (each.service != "", each.path.name))


def _kept(path: Path) -> Kept | None:
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S)) as connection:
            names = {row[0] for row in connection.execute(_TABLES)}
            store = "sagagen_store_key" if "sagagen_barrier" in names else "store_key"
            keys = connection.execute(f"SELECT count(*) FROM {store}").fetchone()[0] if store in names else 0
    except sqlite3.Error as error:
        raise click.ClickException(f"{path} can't be read: {error}") from error
    if not names & {"event", "sagagen_barrier"}:
        return None
    return Kept(path, path.stem if "sagagen_barrier" in names else "", keys > 0)
