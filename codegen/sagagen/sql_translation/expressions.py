"""An expression of SQLite, or a statement made of them, in PostgreSQL's words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from sagagen.sql_translation.catalog import Catalog
from sagagen.sql_translation.functions import REWRITTEN, SAME, advice
from sagagen.sql_translation.times import LAYOUTS, shown, time_call
from sagagen.sql_translation.tokens import Kind, Token, closing, split, text_of, words


class Untranslatable(Exception):
    """The message says what there is no counterpart for, and what to do instead."""


_TIMES = {"strftime", "datetime", "date", "time", "unixepoch"}
_BEFORE_A_LIST = words(
    """
    AND ANY ALL ALWAYS AS BETWEEN BY CASE CHECK CONFLICT DEFAULT DISTINCT ELSE EXCEPT EXISTS FILTER FOREIGN FROM
    HAVING IN INTERSECT IS JOIN KEY LIKE LIMIT MATERIALIZED NOT OFFSET ON OR OVER PARTITION
    PRIMARY RETURNING SELECT SET THEN UNION UNIQUE
    USING VALUES WHEN WHERE WITH
    """
)
"""Words that no call begins with, though a parenthesis may follow."""
_BEFORE_A_TABLE = frozenset({"INTO", "REFERENCES", "TABLE", "UPDATE", "WITH", "RECURSIVE", "ON"})
_BOOLEANS_STAND_ALONE_AFTER = frozenset({"IS", "NOT", "AND", "OR", "WHERE", "ON", "WHEN", "HAVING"})
_ROW_IDS = {"rowid", "_rowid_", "oid"}
_GLOB = re.compile(r"\*|\?|\[\^?\]?[^\]]*\]|.", re.DOTALL)


@dataclass(slots=True)
class Expressions:
    """Raises Untranslatable for what has no counterpart."""

    catalog: Catalog
    ambiguous: dict[str, str] = field(default_factory=dict[str, str])
    """Columns that two rows have here, as `DO UPDATE SET n = n + 1` does, and the table that SQLite takes."""

    def translate(self, tokens: Sequence[Token]) -> str:
        parts: list[str] = []
        at = 0
        while at < len(tokens):
            text, after = self._next(tokens, at)
            before = tokens[at].before
            parts.append(before + text)
            at = after
        return "".join(parts)

    def _next(self, tokens: Sequence[Token], at: int) -> tuple[str, int]:
        """The text that takes the place of some tokens, and the place behind them."""
        token = tokens[at]
        following = tokens[at + 1] if at + 1 < len(tokens) else None
        match token.kind:
            case Kind.BLOB:
                return f"'\\x{token.text[2:-1]}'::bytea", at + 1
            case Kind.SIGN:
                return self._sign(tokens, at)
            case Kind.QUOTED:
                return self._quoted(tokens, at), at + 1
            case Kind.WORD if following is not None and following.word == "(" and self._is_call(tokens, at):
                return self._call(tokens, at)
            case Kind.WORD:
                return self._word(tokens, at)
            case _:
                return token.text, at + 1

    def _sign(self, tokens: Sequence[Token], at: int) -> tuple[str, int]:
        sign = tokens[at].text
        if sign in ("->", "->>"):
            raise Untranslatable(
                f"{sign} is for jsonb there: CAST(column AS jsonb) {sign} 'key', without `$.`"
            )
        return "=" if sign == "==" else sign, at + 1

    def _quoted(self, tokens: Sequence[Token], at: int) -> str:
        token = tokens[at]
        is_name = token.name.lower() in self.catalog.names or _word(tokens, at - 1) in ("AS", ".")
        aliases = {each.name for place, each in enumerate(tokens) if _word(tokens, place - 1) == "AS"}
        if token.text.startswith('"') and not is_name and token.name not in aliases:
            return "'" + token.name.replace("'", "''") + "'"  # SQLite takes it for a text too
        return self.catalog.written(token)

    def _is_call(self, tokens: Sequence[Token], at: int) -> bool:
        word = tokens[at].word
        if word == "CAST" or (word in ("REPLACE", "LIKE", "GLOB") and at == 0):
            return word == "CAST"
        if word in _BEFORE_A_LIST or _word(tokens, at - 1) in (*_BEFORE_A_TABLE, "."):
            return False
        return tokens[at].name.lower() not in self.catalog.tables

    def _call(self, tokens: Sequence[Token], at: int) -> tuple[str, int]:
        name = tokens[at].name.lower()
        end = closing(tokens, at + 1)
        inside = tokens[at + 2 : end]
        if name == "cast":
            return self._cast(tokens[at], inside), end + 1
        if name == "typeof":
            return self._typeof(tokens, inside, end)
        arguments = split(inside)
        if name in _TIMES:
            text = time_call(name, arguments)
        elif name in REWRITTEN:
            text = REWRITTEN[name]([self.translate(each).strip() for each in arguments])
        elif name == "json_valid":
            column = self.translate(inside).strip()
            text = f"({column} IS NULL OR CAST({column} AS jsonb) IS NOT NULL)"
        elif name == "json_extract":
            text = self._json_extract(arguments)
        elif name in SAME:
            text = f"{tokens[at].text}({self.translate(inside)})"
        else:
            text = None
        if text is None:
            raise Untranslatable(f"{name}() as it is used here: {advice(name)}")
        return text, end + 1

    def _cast(self, cast: Token, inside: Sequence[Token]) -> str:
        (at,) = [place for place, token in enumerate(inside) if token.word == "AS"][-1:] or [len(inside)]
        return f"{cast.text}({self.translate(inside[:at])} AS {type_of(text_of(inside[at + 1 :]).strip())})"

    def _typeof(self, tokens: Sequence[Token], inside: Sequence[Token], end: int) -> tuple[str, int]:
        """A column has one type there, so only NULL is left to be asked for."""
        if len(inside) == 1 and _word(tokens, end + 1) in ("=", "==") and end + 2 < len(tokens):
            if tokens[end + 2].string not in (None, "null"):
                return f"{self.catalog.written(inside[0])} IS NOT NULL", end + 3
        elif len(inside) == 1 and _word(tokens, end + 1) == "IN" and _word(tokens, end + 2) == "(":
            last = closing(tokens, end + 2)
            kinds = {each.string for each in tokens[end + 3 : last] if each.kind is Kind.STRING}
            name = self.catalog.written(inside[0])
            return ("TRUE" if "null" in kinds else f"{name} IS NOT NULL"), last + 1
        raise Untranslatable(f"typeof() as it is used here: {advice('typeof')}")

    def _json_extract(self, arguments: Sequence[Sequence[Token]]) -> str | None:
        """Text, where SQLite gives a number for a number."""
        path = arguments[1][0].string if len(arguments) == 2 and len(arguments[1]) == 1 else None
        if path is None or not re.fullmatch(r"\$(\.\w+|\[\d+\])+", path):
            return None
        steps = ",".join(re.findall(r"\w+", path))
        return f"(CAST({self.translate(arguments[0]).strip()} AS jsonb) #>> '{{{steps}}}')"

    def _word(self, tokens: Sequence[Token], at: int) -> tuple[str, int]:
        word, before = tokens[at].word, _word(tokens, at - 1)
        if word.lower() in LAYOUTS and word.startswith("CURRENT"):
            return shown(LAYOUTS[word.lower()]), at + 1
        if word in ("GLOB", "LIKE") or (word == "NOT" and _word(tokens, at + 1) == "GLOB"):
            return self._like(tokens, at)
        if word in ("REGEXP", "MATCH"):
            raise Untranslatable(f"{word}: write `column ~ 'pattern'`, or a full text search of its own")
        if word == "IS":
            return _is(tokens, at)
        if word == "COLLATE":
            return _collate(tokens, at)
        if word in ("TRUE", "FALSE") and before not in _BOOLEANS_STAND_ALONE_AFTER:
            return ("1" if word == "TRUE" else "0"), at + 1
        if word.lower() in _ROW_IDS and word.lower() not in self.catalog.names:
            raise Untranslatable(f"{tokens[at].text}: there is none; give the table a key of its own")
        if word == "MAIN" and _word(tokens, at + 1) == ".":
            return tokens[at + 2].before + self.catalog.written(tokens[at + 2]), at + 3
        return self._name(tokens, at), at + 1

    def _name(self, tokens: Sequence[Token], at: int) -> str:
        token = tokens[at]
        name = token.name.lower()
        if (
            name in self.ambiguous
            and _word(tokens, at - 1) != "."
            and _word(tokens, at + 1) not in (".", "(")
        ):
            return f"{self.ambiguous[name]}.{self.catalog.written(token)}"
        return self.catalog.written(token) if name in self.catalog.names else token.text

    def _like(self, tokens: Sequence[Token], at: int) -> tuple[str, int]:
        """LIKE heeds no case in SQLite; GLOB does, and becomes a regular expression."""
        if tokens[at].word == "LIKE":
            return "ILIKE", at + 1
        is_not = tokens[at].word == "NOT"
        place = at + 2 if is_not else at + 1
        pattern = tokens[place].string if place < len(tokens) else None
        if pattern is None:
            raise Untranslatable("GLOB with a pattern that is no literal: write `~` and a regular expression")
        quoted = glob_as_regex(pattern).replace("'", "''")
        return f"{'!~' if is_not else '~'} '{quoted}'", place + 1


def _word(tokens: Sequence[Token], at: int) -> str:
    return tokens[at].word if 0 <= at < len(tokens) else ""


def _is(tokens: Sequence[Token], at: int) -> tuple[str, int]:
    """In SQLite it compares any two values."""
    is_not = _word(tokens, at + 1) == "NOT"
    compared = _word(tokens, at + (2 if is_not else 1))
    if compared in ("NULL", "TRUE", "FALSE", "DISTINCT"):
        return tokens[at].text, at + 1
    return ("IS DISTINCT FROM", at + 2) if is_not else ("IS NOT DISTINCT FROM", at + 1)


def _collate(tokens: Sequence[Token], at: int) -> tuple[str, int]:
    if _word(tokens, at + 1) == "BINARY":
        return 'COLLATE "C"', at + 2
    what = tokens[at + 1].text if at + 1 < len(tokens) else ""
    raise Untranslatable(f"COLLATE {what}: compare lower(...) on both sides")


def glob_as_regex(pattern: str) -> str:
    """Of PostgreSQL's `~`."""
    known = {"*": ".*", "?": "."}
    parts = [part if len(part) > 1 else known.get(part) or re.escape(part) for part in _GLOB.findall(pattern)]
    return f"^{''.join(parts)}$"


def type_of(declared: str) -> str:
    """The type that holds what SQLite holds, and that handlers read as they did.

    SQLite goes by parts of the word, so any name of a type is one (sqlite.org/datatype3.html).
    """
    name = declared.upper()
    if "BOOL" in name or "INT" in name:
        return "BIGINT"
    if any(part in name for part in ("CHAR", "CLOB", "TEXT", "DATE", "TIME", "JSON", "UUID")):
        return "TEXT"
    if "BLOB" in name:
        return "BYTEA"
    if any(part in name for part in ("REAL", "FLOA", "DOUB")):
        return "DOUBLE PRECISION"
    return "NUMERIC"
