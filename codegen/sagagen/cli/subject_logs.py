"""The saga log of a project, in a file or in PostgreSQL, as `sagagen forget` needs it."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sagagen.cli.postgres_services import with_log
from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.log.erasing import forget_subject, sagas_of, vault_of
from sagagen.runtime.vault.given import given_keys

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import Vault


class SubjectLog(Protocol):
    def sagas_of(self, subject: str) -> Sequence[str]:
        """Ids of all sagas of a subject. Raises StillOpen, or StartupError."""
        ...

    def forget(self, subject: str, entry: AuditEntry) -> None:
        """Destroy the subject's key. Raises StillOpen, NotEmptied, or StartupError."""
        ...


@dataclass(frozen=True, slots=True)
class FileLog:
    path: Path
    project: Path | None

    def sagas_of(self, subject: str) -> Sequence[str]:
        with closing(self._opened()) as connection:
            return [each.saga_id for each in sagas_of(connection, self._vault(connection), subject)]

    def forget(self, subject: str, entry: AuditEntry) -> None:
        with closing(self._opened()) as connection:
            vault = self._vault(connection)
        forget_subject(self.path, vault, subject, entry)

    def _opened(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)

    def _vault(self, connection: sqlite3.Connection) -> "Vault":
        return vault_of(connection, self.path, given_keys(os.environ, root=self.project))


@dataclass(frozen=True, slots=True)
class LogOnPostgres:
    url: str
    project: Path | None

    def sagas_of(self, subject: str) -> Sequence[str]:
        from sagagen.runtime.postgres_log import keys  # which needs asyncpg

        given = given_keys(os.environ, root=self.project)
        found = with_log(self.url, partial(keys.sagas_of, subject=subject, keys=given))
        return [each.saga_id for each in found]

    def forget(self, subject: str, entry: AuditEntry) -> None:
        from sagagen.runtime.postgres_log import keys  # which needs asyncpg

        given = given_keys(os.environ, root=self.project)
        with_log(self.url, partial(keys.forget_subject, subject=subject, keys=given, entry=entry))
