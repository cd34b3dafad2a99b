"""A set of the corpus, and what of it must still be there after a later version has worked on it."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sql_text import from_text

CORPUS = Path(__file__).parent
LOG = "saga-log"

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ReleasedSet:
    """A log and the databases of its services, as text."""

    folder: Path

    @property
    def schema_version(self) -> int:
        return int(self.folder.name.removeprefix("schema_"))

    @property
    def texts(self) -> dict[str, str]:
        """By the name of the database: `saga-log`, or a service."""
        return {file.stem: file.read_text() for file in sorted(self.folder.glob("*.sql"))}

    @cached_property
    def requests(self) -> list[dict[str, Any]]:
        """What started each saga; with `status` and `answer` if it was answered for good."""
        return json.loads((self.folder / "requests.json").read_text())

    @cached_property
    def sagas(self) -> Rows:
        return self._query(LOG, "SELECT * FROM saga ORDER BY number")

    @cached_property
    def events(self) -> Rows:
        return self._query(LOG, "SELECT * FROM event ORDER BY seq")

    def barrier(self, service: str) -> Rows:
        return self._query(service, "SELECT * FROM sagagen_barrier")

    def meta(self, service: str) -> dict[str, int]:
        rows = self._query(service, "SELECT name, value FROM sagagen_meta")
        return {row["name"]: row["value"] for row in rows}

    def events_of(self, number: int) -> list[Mapping[str, Any]]:
        return [event for event in self.events if event["saga"] == number]

    def restore(self, data_dir: Path) -> None:
        """Make the files of it."""
        for name, text in self.texts.items():
            from_text(text, data_dir / f"{name}.db")

    def _query(self, name: str, query: str) -> Rows:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.executescript(self.texts[name])
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]


def released_sets() -> list[ReleasedSet]:
    """All, the oldest first."""
    return sorted(map(ReleasedSet, CORPUS.glob("schema_*")), key=lambda each: each.schema_version)
