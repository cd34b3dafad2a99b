"""A service's SQL file for PostgreSQL, drafted from the one for SQLite."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from sagagen.sql_translation.catalog import Catalog
from sagagen.sql_translation.expressions import Expressions, Untranslatable
from sagagen.sql_translation.tables import MARK, Tables
from sagagen.sql_translation.tokens import (
    Kind,
    Token,
    closing,
    find,
    split,
    statements_of,
    text_of,
    tokens_of,
)


class NotSqlite(Exception):
    """SQLite itself refuses a statement."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


@dataclass(frozen=True, slots=True)
class Mark:
    """What is left to do in a draft."""

    line: int
    """From 1."""
    text: str


def marks_of(text: str) -> list[Mark]:
    """What a draft, or what its author has left of it, still has to say."""
    return [
        Mark(number, line.partition(MARK)[2].strip())
        for number, line in enumerate(text.splitlines(), 1)
        if line.lstrip().startswith(MARK)
    ]


def draft(sql: str, catalog: Catalog) -> str:
    """The file's counterpart. Its statements run in the catalog; later files find its tables there.

    Raises NotSqlite.
    """
    tokens, rest = tokens_of(sql)
    return "".join(_statement(each, catalog) for each in statements_of(tokens)) + rest


def _statement(tokens: Sequence[Token], catalog: Catalog) -> str:
    first = " ".join(token.word for token in tokens[:4])
    is_new = catalog.names.copy()
    tables = dict(catalog.tables)
    try:
        catalog.run(text_of(tokens))
    except (sqlite3.Error, sqlite3.Warning) as error:
        if "VIRTUAL" not in first:  # this build of SQLite may lack the module
            raise NotSqlite(tokens[0].line, str(error)) from error
    catalog.names |= is_new
    made, catalog.tables = catalog.tables, {**catalog.tables, **tables}
    try:
        return _translated(tokens, first, catalog)
    except Untranslatable as why:
        return _left(tokens, str(why))
    finally:
        catalog.tables = made


def _translated(tokens: Sequence[Token], first: str, catalog: Catalog) -> str:
    match first.split():
        case ["PRAGMA" | "ANALYZE" | "VACUUM" | "REINDEX" as word, *_]:
            return _dropped(tokens, f"{word} is SQLite's own")
        case ["BEGIN" | "COMMIT" | "END" | "SAVEPOINT" | "RELEASE" as word, *_]:
            return _dropped(tokens, f"{word}: the file is one transaction anyway")
        case ["CREATE", "VIRTUAL", *_]:
            raise Untranslatable(
                "a virtual table: PostgreSQL has full text search, GIN and GiST indexes instead"
            )
        case ["CREATE", "TEMP" | "TEMPORARY", *_]:
            raise Untranslatable("what is temporary is seen by one connection there; a service has several")
        case ["CREATE", "TRIGGER", *_]:
            raise Untranslatable(
                "a trigger: write a function that RETURNS trigger, or do this in the handler"
            )
        case ["CREATE", "TABLE", *_]:
            return Tables(catalog).translate(tokens)
        case ["CREATE", "VIEW", *_]:
            return _view(tokens, catalog)
        case ["CREATE", "INDEX" | "UNIQUE", *_]:
            return _index(tokens, catalog)
        case ["ALTER", "TABLE", *_]:
            return _alter(tokens, catalog)
        case ["INSERT" | "REPLACE", *_]:
            return insert(tokens, catalog) + _counter(tokens, catalog)
        case ["UPDATE", "OR", *_]:
            raise Untranslatable("UPDATE OR ...: write a condition that leaves out what conflicts")
        case _:
            return Expressions(catalog).translate(tokens)


def _left(tokens: Sequence[Token], why: str) -> str:
    """As a comment, below what to do about it."""
    before = tokens[0].before
    body = text_of(tokens)[len(before) :]
    lines = "".join(f"\n-- {line}".rstrip() for line in body.splitlines())
    return f"{before}{MARK}{why}{lines}"


def _dropped(tokens: Sequence[Token], why: str) -> str:
    before = tokens[0].before
    body = " ".join(text_of(tokens)[len(before) :].split())
    return f"{before}-- left out, {why}: {body}"


def _view(tokens: Sequence[Token], catalog: Catalog) -> str:
    words = [token.word for token in tokens]
    if words[2:5] == ["IF", "NOT", "EXISTS"]:
        tokens = [*tokens[:2], *tokens[5:]]
        tokens[0:1] = [tokens[0], Token(Kind.WORD, "OR", " ", 0), Token(Kind.WORD, "REPLACE", " ", 0)]
    return Expressions(catalog).translate(tokens)


def _index(tokens: Sequence[Token], catalog: Catalog) -> str:
    """Its columns may be expressions, and compare without case: then they are lower(...) there."""
    start = [token.word for token in tokens].index("(")
    end = closing(tokens, start)
    expressions = Expressions(catalog)
    columns = [_indexed(part, expressions) for part in split(tokens[start + 1 : end])]
    head = expressions.translate(tokens[: start + 1])
    return f"{head}{','.join(columns)}{expressions.translate(tokens[end:])}"


def _indexed(part: Sequence[Token], expressions: Expressions) -> str:
    order = [token for token in part if token.word in ("ASC", "DESC")]
    part = [token for token in part if token not in order]
    words = [token.word for token in part]
    is_folded = words[-2:-1] == ["COLLATE"] and words[-1] in ("NOCASE", "BINARY")
    inner = expressions.translate(part[:-2] if is_folded else part)
    before, text = part[0].before, inner.strip()
    if is_folded and words[-1] == "NOCASE":
        text = f"lower({text})"
    elif len(part) > (3 if is_folded else 1):
        text = f"({text})"
    return before + text + "".join(f" {token.word}" for token in order)


def _alter(tokens: Sequence[Token], catalog: Catalog) -> str:
    """A column that is added is written as one in CREATE TABLE."""
    at = find(tokens, "ADD")
    if at < 0:
        return Expressions(catalog).translate(tokens)
    column = at + (2 if tokens[at + 1].word == "COLUMN" else 1)
    last = -1 if tokens[-1].word == ";" else len(tokens)
    head = Expressions(catalog).translate(tokens[:column])
    return (
        f"{head}{Tables(catalog).column(tokens[2].name.lower(), tokens[column:last])}{text_of(tokens[last:])}"
    )


def insert(tokens: Sequence[Token], catalog: Catalog) -> str:
    """INSERT OR IGNORE and INSERT OR REPLACE say with ON CONFLICT what they do. Raises Untranslatable."""
    words = [token.word for token in tokens]
    verb = "REPLACE" if words[0] == "REPLACE" else words[2] if words[1] == "OR" else ""
    into = words.index("INTO")
    table = tokens[into + 3 if words[into + 2 : into + 3] == ["."] else into + 1]
    last = len(tokens) - (1 if words[-1] == ";" else 0)
    returning = find(tokens, "RETURNING")
    end = returning if returning >= 0 else last
    head = f"{tokens[0].before}INSERT INTO "
    expressions = Expressions(catalog)
    body = expressions.translate([*tokens[into + 1 : end]]).lstrip()
    if verb in ("IGNORE", "REPLACE") and "CONFLICT" not in words:
        indent = "\n" if "\n" in body else " "
        body += indent + _conflict(verb, tokens[into + 1 : end], table, catalog)
    elif "CONFLICT" in words:
        body = _upsert(tokens, into, end, table, catalog)
    return head + body + expressions.translate(tokens[end:])


def _conflict(verb: str, tokens: Sequence[Token], table: Token, catalog: Catalog) -> str:
    if verb == "IGNORE":
        return "ON CONFLICT DO NOTHING"
    keys = catalog.keys(table.name)
    if len(keys) != 1:
        raise Untranslatable(
            "OR REPLACE with several keys: write ON CONFLICT (key) DO UPDATE for the one it is about"
        )
    columns = list(catalog.tables.get(table.name.lower(), ()))
    if tokens[1].word == "(":
        columns = [part[0].name.lower() for part in split(tokens[2 : closing(tokens, 1)])]
    others = [column for column in catalog.tables.get(table.name.lower(), ()) if column not in keys[0]]
    sets = [
        f"{catalog.quoted(name)} = {f'excluded.{catalog.quoted(name)}' if name in columns else 'DEFAULT'}"
        for name in others
    ]
    key = ", ".join(map(catalog.quoted, keys[0]))
    return f"ON CONFLICT ({key}) DO " + (f"UPDATE SET {', '.join(sets)}" if sets else "NOTHING")


def _upsert(tokens: Sequence[Token], into: int, end: int, table: Token, catalog: Catalog) -> str:
    """In DO UPDATE a bare column is the row's that is there; PostgreSQL wants that said."""
    at = find(tokens, "CONFLICT")
    target = tokens[at + 1].word == "("
    keys = catalog.keys(table.name)
    body = Expressions(catalog).translate(tokens[into + 1 : at + 1]).lstrip()
    if not target and tokens[at + 2].word == "UPDATE":
        if len(keys) != 1:
            raise Untranslatable("ON CONFLICT DO UPDATE needs the key that it is about: ON CONFLICT (key)")
        body += f" ({', '.join(map(catalog.quoted, keys[0]))})"
    sets = find(tokens, "SET", at)
    if sets < 0:
        return body + Expressions(catalog).translate(tokens[at + 1 : end])
    body += Expressions(catalog).translate(tokens[at + 1 : sets + 1])
    where = find(tokens, "WHERE", sets)
    stop = where if 0 <= where < end else end
    columns = dict.fromkeys(catalog.tables.get(table.name.lower(), ()), catalog.written(table))
    said = Expressions(catalog, columns)
    parts: list[str] = []
    for part in split(tokens[sets + 1 : stop]):
        equals = find(part, "=")
        parts.append(Expressions(catalog).translate(part[: equals + 1]) + said.translate(part[equals + 1 :]))
    return body + ",".join(parts) + said.translate(tokens[stop:end])


def _counter(tokens: Sequence[Token], catalog: Catalog) -> str:
    """Rows with numbers of their own leave the identity's counter where it was, which SQLite's moves on."""
    words = [token.word for token in tokens]
    table = tokens[words.index("INTO") + 1].name.lower()
    column = catalog.identity(table)
    given = [token.name.lower() for token in tokens[words.index("INTO") + 2 :]]
    if not column or (
        words[words.index("INTO") + 2 : words.index("INTO") + 3] == ["("] and column not in given
    ):
        return ""
    counter = catalog.quoted(f"{table}_{column}_seq")
    end = "" if words[-1] == ";" else ";"
    newest = f"SELECT max({catalog.quoted(column)}) FROM {catalog.quoted(table)}"
    return f"{end}\nSELECT setval('{counter}', ({newest})) FROM {counter}\nWHERE last_value < ({newest});"
