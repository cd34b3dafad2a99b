"""What there is in a SQLite database, and how its names are written in PostgreSQL."""

import re
import sqlite3
from collections.abc import Mapping, Sequence

from sagagen.sql_translation.tokens import Kind, Token, words

# PostgreSQL 17, appendix C: what is no name of a table or column without quotes.
RESERVED = words(
    """
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
    column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze
    from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
    localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
    returning right select session_user similar some symmetric system_user table tablesample then to trailing true union
    unique user using variadic verbose when where window with
    """
)
# Those that SQLite takes for names without quotes, and never for anything else.
_NO_KEYWORDS = words(
    """
    analyse any array asymmetric authorization binary both concurrently current_catalog current_role current_schema
    current_user fetch freeze grant ilike lateral leading localtime localtimestamp only placing session_user similar
    some symmetric system_user tablesample trailing user variadic verbose
    """
)
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


class Catalog:
    """A database in memory, in which the statements of a service's SQL files run one by one."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self.names: set[str] = set()
        """Of all tables and columns that there ever were, in small letters."""
        self.tables: dict[str, tuple[str, ...]] = {}
        """Names of tables and views as they are now, in small letters, with their columns."""
        self._exact: dict[str, str] = {}
        """Names that need quotes, as they are written."""

    def close(self) -> None:
        self._connection.close()

    def run(self, statement: str) -> None:
        """Raises sqlite3.Error."""
        self._connection.execute(statement)
        rows = self._connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        self.tables = {name.lower(): self._columns(name) for (name,) in rows.fetchall()}
        self.names |= set(self.tables) | {column for columns in self.tables.values() for column in columns}

    def _columns(self, table: str) -> tuple[str, ...]:
        found = self._connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))
        return tuple(name.lower() for (name,) in found)

    def types(self, table: str) -> Mapping[str, str]:
        found = self._connection.execute("SELECT name, type FROM pragma_table_xinfo(?)", (table,))
        return {name.lower(): kind for name, kind in found}

    def keys(self, table: str) -> Sequence[tuple[str, ...]]:
        """The columns of the primary key, then of each other unique key."""
        rows = self._connection.execute(
            "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (table,)
        )
        primary = tuple(name.lower() for (name,) in rows)
        others = self._connection.execute(
            "SELECT name FROM pragma_index_list(?) WHERE [unique] AND origin <> 'pk'", (table,)
        ).fetchall()
        found = [primary] if primary else []
        for (index,) in others:
            columns = self._connection.execute("SELECT name FROM pragma_index_info(?)", (index,))
            found.append(tuple((name or "").lower() for (name,) in columns))
        return found

    def identity(self, table: str) -> str:
        """The column whose numbers SQLite gives by itself (INTEGER PRIMARY KEY); empty if there is none."""
        (primary,) = [key for key in self.keys(table)[:1] if len(key) == 1] or [("",)]
        is_integer = self.types(table).get(primary[0], "").upper() == "INTEGER"
        without = self._connection.execute(
            "SELECT wr FROM pragma_table_list WHERE name = ? COLLATE NOCASE", (table,)
        )
        return primary[0] if is_integer and without.fetchone() == (0,) else ""

    def written(self, token: Token, *, is_declared: bool = False) -> str:
        """A name as PostgreSQL knows it.

        It folds names without quotes to small letters, and compares those in quotes as they are. `is_declared`: it can
        be nothing but a name.
        """
        name = token.name
        needs_quotes = name.lower() in (RESERVED if is_declared else _NO_KEYWORDS)
        if token.kind is Kind.QUOTED and not _PLAIN.fullmatch(name):
            self._exact.setdefault(name.lower(), name)
        if exact := self._exact.get(name.lower()):
            return '"' + exact.replace('"', '""') + '"'
        if token.kind is Kind.QUOTED or needs_quotes:
            return f'"{name.lower()}"'
        return token.text

    def quoted(self, name: str) -> str:
        """The name of a table or column, in small letters, where it needs quotes."""
        return self.written(Token(Kind.WORD, name, "", 0), is_declared=True)
