"""A handler's SQL, which both stores run as it stands: what PostgreSQL would refuse, or take for something else."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sagagen.sql_translation.catalog import RESERVED, Catalog
from sagagen.sql_translation.functions import REWRITTEN, SAME, advice
from sagagen.sql_translation.tokens import Kind, Token, closing, find, split, tokens_of, words

_SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|PRAGMA)\b", re.IGNORECASE)
_TIMES = "take the time from the call, and pass it as a parameter"
_PORTABLE = {
    "ifnull": "coalesce does the same on both",
    "iif": "CASE WHEN ... THEN ... ELSE ... END works on both",
    "if": "CASE WHEN ... THEN ... ELSE ... END works on both",
    "instr": "PostgreSQL has strpos; look in the handler",
    "group_concat": "join the rows in the handler",
    "string_agg": "SQLite has it since 3.44 only",
    "total": "coalesce(sum(x), 0.0) works on both",
    "pow": "power works on both",
    **dict.fromkeys(("strftime", "datetime", "date", "time", "unixepoch", "julianday"), _TIMES),
    "json_extract": "read the column, and parse it in the handler",
}
_WORDS = {
    "GLOB": "GLOB: compare in the handler, or use lower(x) LIKE lower(?)",
    "REGEXP": "REGEXP: PostgreSQL writes `~`; compare in the handler",
    "CURRENT_TIMESTAMP": f"CURRENT_TIMESTAMP is text in SQLite and a moment in PostgreSQL: {_TIMES}",
    "CURRENT_DATE": f"CURRENT_DATE is text in SQLite and a date in PostgreSQL: {_TIMES}",
    "ROWID": "rowid: PostgreSQL has none; give the table a key of its own",
    "LIKE": "LIKE heeds no case in SQLite and does in PostgreSQL: lower(x) LIKE lower(?) does the same on both",
    "==": "==: = works on both",
    "PRAGMA": "PRAGMA is SQLite's own",
}


@dataclass(frozen=True, slots=True)
class Warned:
    line: int
    """Of the handlers' file, from 1."""
    text: str


def warnings_of(source: str, catalog: Catalog) -> list[Warned]:
    """Of the SQL in a Python file, in its order. Raises SyntaxError."""
    found = {
        Warned(line + token_line - 1, text)
        for line, sql in _literals(ast.parse(source))
        for token_line, text in look_over(sql, catalog)
    }
    return sorted(found, key=lambda each: (each.line, each.text))


def _literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Texts that look like SQL, with their lines. What an f-string puts in is taken for a parameter."""
    inner = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)
    } - {id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)}
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "?" for part in node.values)
        if _SQL.match(text) and " " in text.strip():
            yield node.lineno if isinstance(node, ast.expr) else 1, text


def look_over(sql: str, catalog: Catalog) -> Iterator[tuple[int, str]]:
    """Line within the text, from 1, and what is to be said of it."""
    tokens, _ = tokens_of(sql)
    yield from _insert(tokens, [token.word for token in tokens], catalog)
    for at, token in enumerate(tokens):
        said = _call(tokens, at) or _word(tokens, at, catalog)
        if said:
            yield token.line, said


def _insert(tokens: Sequence[Token], read: Sequence[str], catalog: Catalog) -> Iterator[tuple[int, str]]:
    if read[:3] == ["INSERT", "OR", "IGNORE"]:
        yield 1, "INSERT OR IGNORE: INSERT ... ON CONFLICT DO NOTHING works on both"
    elif read[:1] == ["REPLACE"] or read[:2] in (["INSERT", "OR"], ["UPDATE", "OR"]):
        yield (
            1,
            f"{' '.join(read[:3] if read[1] == 'OR' else read[:2])}: INSERT ... ON CONFLICT (key) DO UPDATE SET ... "
            "works on both",
        )
    at = find(tokens, "CONFLICT")
    sets = find(tokens, "SET", at) if at >= 0 else -1
    if sets < 0:
        return
    if read[at + 1] != "(":
        yield tokens[at].line, "ON CONFLICT DO UPDATE: name the key, ON CONFLICT (key)"
    table = tokens[read.index("INTO") + 1].name
    columns = catalog.tables.get(table.lower(), ())
    for part in split(tokens[sets + 1 :]):
        for place in range(find(part, "=") + 1, len(part)):
            before = part[place - 1].word
            if part[place].name.lower() in columns and before != ".":
                yield (
                    part[place].line,
                    (
                        f"{part[place].name} in DO UPDATE is ambiguous in PostgreSQL: write {table}.{part[place].name} "
                        f"or excluded.{part[place].name}"
                    ),
                )


def _call(tokens: Sequence[Token], at: int) -> str:
    name = tokens[at].name.lower()
    if tokens[at].kind is not Kind.WORD or at + 1 == len(tokens) or tokens[at + 1].word != "(":
        return ""
    if name in ("max", "min"):
        many = len(split(tokens[at + 2 : closing(tokens, at + 1)])) > 1
        return f"{name}() of several values: PostgreSQL has greatest and least; use CASE" if many else ""
    if name in _PORTABLE:
        return f"{name}(): {_PORTABLE[name]}"
    if name in SAME or name in REWRITTEN or not advice(name, otherwise=""):
        return ""
    return f"{name}(): {advice(name)}"


def _word(tokens: Sequence[Token], at: int, catalog: Catalog) -> str:
    token = tokens[at]
    name, before = token.name.lower(), tokens[at - 1].word if at else ""
    if token.kind is Kind.BLOB:
        return f"{token.text[:12]}: pass bytes as a parameter"
    if token.word in _WORDS and name not in catalog.names:
        return _WORDS[token.word]
    if token.word == "COLLATE":
        return "COLLATE: compare lower(...) on both sides"
    if token.word == "LIMIT" and "," in [each.word for each in tokens[at : at + 3]]:
        return "LIMIT a, b: LIMIT b OFFSET a works on both"
    if token.word in ("->", "->>"):
        return f"{token.word}: read the column, and parse it in the handler"
    if token.word == "IS" and at + 1 < len(tokens):
        value = tokens[at + 2 if tokens[at + 1].word == "NOT" and at + 2 < len(tokens) else at + 1]
        if value.kind is Kind.PARAMETER:
            return "IS with a value: IS [NOT] DISTINCT FROM works on both"
    if token.kind is Kind.QUOTED:
        return _quoted(token, name, before, catalog)
    if token.kind is Kind.WORD and name in catalog.names and name in RESERVED - _USUAL:
        return f'{token.text} is a reserved word in PostgreSQL: "{name}" works on both'
    if token.kind is Kind.WORD and before == "AS" and name != token.text and name not in RESERVED:
        return f'{token.text}: PostgreSQL folds it to {name}; AS "{token.text}" keeps it on both'
    return ""


def _quoted(token: Token, name: str, before: str, catalog: Catalog) -> str:
    if not token.text.startswith('"'):
        return f'{token.text}: "{token.name}" works on both'
    if name not in catalog.names and before not in ("AS", "."):
        return f"{token.text} is a text in SQLite and a name in PostgreSQL: '{token.name}' works on both"
    return ""


_USUAL = words(
    """
    all and as asc between by case check collate default desc distinct do else end except exists for from full group
    having in inner intersect into is join left like limit natural not null offset on or order outer primary references
    returning right select set table then to union unique using values when where window with
    """
)
"""Words that are part of a statement, though a column may be called so."""
