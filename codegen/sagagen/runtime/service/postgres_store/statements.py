"""A handler's SQL as PostgreSQL takes it: `?`, `?1`, `$1` and `:name` become `$1`.

What only the runtime may do is refused. A statement is looked at once, by its text; handlers have few of them.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sagagen.runtime.service.call import Parameters, StatementNotAllowed

ALLOWED = ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE")
OWN_PREFIX = "sagagen_"
"""Of schemas that belong to the runtime."""

_TOKEN = re.compile(
    r"""
    (?P<text>[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*')       # a literal; E'' knows backslashes
  | (?P<dollar>\$(?P<tag>(?:[A-Za-z_\x80-\uffff][\w\x80-\uffff]*)?)\$.*?\$(?P=tag)\$)
  | (?P<comment>--[^\n]* | /\*)
  | (?P<quoted>(?:[uU]&)?"(?:[^"]|"")*")
  | (?P<word>[A-Za-z_\x80-\uffff][\w$\x80-\uffff]*)
  | (?P<escaped>\?\?)
  | (?P<place>\?[0-9]* | \$[0-9]+)
  | (?P<cast>::)
  | (?P<name>:[A-Za-z_]\w*)
  | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)
_FORBIDDEN = {
    "set_config": "settings of the connection are the runtime's",
    "pg_advisory_lock": "it outlives the call: use pg_advisory_xact_lock",
    "pg_advisory_lock_shared": "it outlives the call: use pg_advisory_xact_lock_shared",
    "pg_try_advisory_lock": "it outlives the call: use pg_try_advisory_xact_lock",
    "pg_try_advisory_lock_shared": "it outlives the call: use pg_try_advisory_xact_lock_shared",
    "pg_advisory_unlock": "locks of the connection are the runtime's",
    "pg_advisory_unlock_shared": "locks of the connection are the runtime's",
    "pg_advisory_unlock_all": "locks of the connection are the runtime's",
}


class Statement(NamedTuple):
    """A handler's statement, ready to be sent."""

    sql: str
    names: tuple[str, ...] | None
    """The parameters by name, in the order of their numbers; None: they come by position."""

    def arguments(self, parameters: Parameters) -> Sequence[Any]:
        """In the order of `$1`, `$2` ... Raises KeyError for a name that is missing."""
        if isinstance(parameters, Mapping):
            return [parameters[name] for name in self.names or ()]
        return parameters


@lru_cache(maxsize=1024)
def statement_of(sql: str) -> Statement:
    """Raises StatementNotAllowed for what only the runtime may do, and for more than one statement."""
    parts: list[str] = []
    names: dict[str, int] = {}
    count = at = 0
    first = ""
    is_over = False
    while at < len(sql):
        token = _TOKEN.match(sql, at)
        if token is None:
            is_over = is_over and sql[at].isspace()
            parts.append(sql[at])
            at += 1
            continue
        kind, text = token.lastgroup or "", token[0]
        if kind == "tag":  # the group within `dollar`
            kind = "dollar"
        at = token.end()
        if kind == "comment":
            at = at if text != "/*" else _comment_end(sql, token.start())
            parts.append(" ")
            continue
        if is_over:
            raise StatementNotAllowed("one statement at a time")
        match kind:
            case "word":
                first = first or _first(text)
                _check_word(text.lower())
            case "quoted":
                _check_quoted(text)
            case "place" if text == "?":
                count += 1
                text = f"${count}"
            case "place":
                count = max(count, int(text[1:]))
                text = f"${text[1:]}"
            case "escaped":
                text = "?"
            case "name":
                text = f"${names.setdefault(text[1:], len(names) + 1)}"
            case "end":
                is_over, text = True, ""
            case _:
                pass
        parts.append(text)
    return Statement("".join(parts), tuple(names) if names else None)


def _first(word: str) -> str:
    if word.upper() not in ALLOWED:
        raise StatementNotAllowed(
            f"{word.upper()[:20]} is not a handler's: the runtime begins and ends transactions, and tables are made in "
            f"SQL files; a handler uses {', '.join(ALLOWED)}"
        )
    return word


def _check_word(word: str) -> None:
    if word.startswith(OWN_PREFIX):
        raise StatementNotAllowed(f"{word} is the runtime's")
    if why := _FORBIDDEN.get(word):
        raise StatementNotAllowed(f"{word}: {why}")


def _check_quoted(text: str) -> None:
    if text[0] in "uU":
        raise StatementNotAllowed('names are written without U&"..."')
    _check_word(text.strip('"'))


def _comment_end(sql: str, start: int) -> int:
    """Behind a block comment, which may hold others. One without an end takes the rest."""
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(sql, start):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    return len(sql)
