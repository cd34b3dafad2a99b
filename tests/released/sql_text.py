"""A SQLite database as text that a person can review, and back."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path

_SCHEMA = """
SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL
ORDER BY CASE type WHEN 'table' THEN 0 ELSE 1 END, rowid
"""


def to_text(database: Path) -> str:
    """The schema, the rows without their NULLs, and the version that the program keeps in the file."""
    with closing(sqlite3.connect(database)) as connection:
        return "\n".join(_lines(connection)) + "\n"


def from_text(text: str, database: Path) -> None:
    """Make the database that `to_text` was given, in WAL mode. Raises FileExistsError if there is a file already."""
    database.parent.mkdir(parents=True, exist_ok=True)
    database.touch(exist_ok=False)
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(text)
        connection.execute("PRAGMA journal_mode = WAL")


def _lines(connection: sqlite3.Connection) -> Iterator[str]:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    yield f"PRAGMA user_version = {version};"
    yield "BEGIN;"
    for name, kind, sql in connection.execute(_SCHEMA).fetchall():
        yield f"\n{sql};"
        if kind == "table":
            yield from _rows(connection, name)
    yield "\nCOMMIT;"


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    columns = [column for _, column, *_ in connection.execute(f"PRAGMA table_info({table})")]
    quoted = ", ".join(f"quote({column})" for column in columns)
    rows = connection.execute(f"SELECT {quoted} FROM {table}").fetchall()
    present = [{c: v for c, v in zip(columns, row, strict=True) if v != "NULL"} for row in rows]
    for names, alike in groupby(present, key=tuple):
        values = ",\n".join(f"({', '.join(row.values())})" for row in alike)
        yield f"INSERT INTO {table} ({', '.join(names)}) VALUES\n{values};"
