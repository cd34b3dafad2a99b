"""SQL of SQLite in words (sqlite.org/lang.html), each with what stands before it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    WORD = auto()
    QUOTED = auto()
    """A name in quotes: "name", `name` or [name]."""
    STRING = auto()
    BLOB = auto()
    NUMBER = auto()
    PARAMETER = auto()
    SIGN = auto()


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    before: str
    """Spaces and comments in front of it."""
    line: int
    """From 1."""

    @property
    def word(self) -> str:
        """In capitals; empty unless it is a word without quotes, or a sign."""
        return self.text.upper() if self.kind in (Kind.WORD, Kind.SIGN) else ""

    @property
    def name(self) -> str:
        """As a name, without its quotes; empty for what can't be one."""
        if self.kind is Kind.WORD:
            return self.text
        if self.kind is not Kind.QUOTED:
            return ""
        end = self.text[-1]
        return self.text[1:-1].replace(end * 2, end)

    @property
    def string(self) -> str | None:
        """What a literal says."""
        return self.text[1:-1].replace("''", "'") if self.kind is Kind.STRING else None


_TRIVIA = re.compile(r"(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))+", re.DOTALL)
_TOKEN = re.compile(
    r"""
    (?P<BLOB>[xX]'[0-9a-fA-F]*')
  | (?P<STRING>'(?:[^']|'')*')
  | (?P<QUOTED>"(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\])
  | (?P<NUMBER>0[xX][0-9a-fA-F]+ | (?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<PARAMETER>\?\d* | [:@$][A-Za-z_]\w* | \$\d+)
  | (?P<WORD>[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)
  | (?P<SIGN><> | != | == | <= | >= | \|\| | ->> | -> | << | >> | .)
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens_of(sql: str) -> tuple[list[Token], str]:
    """All of them, and what stands behind the last."""
    found: list[Token] = []
    at, line, before = 0, 1, ""
    while at < len(sql):
        trivia = _TRIVIA.match(sql, at)
        if trivia is not None:
            before, at = trivia[0], trivia.end()
            line += before.count("\n")
            continue
        match = _TOKEN.match(sql, at)
        assert match is not None  # the last of its ways takes any character
        found.append(Token(Kind[match.lastgroup or ""], match[0], before, line))
        line += match[0].count("\n")
        at, before = match.end(), ""
    return found, before


def statements_of(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Each with its semicolon, if it has one. A trigger's own statements belong to it."""
    statement: list[Token] = []
    depth = 0
    for token in tokens:
        statement.append(token)
        is_trigger = "TRIGGER" in [each.word for each in statement[:4]]
        if is_trigger and token.word in ("BEGIN", "CASE"):
            depth += 1
        elif is_trigger and token.word == "END":
            depth -= 1
        elif token.word == ";" and depth <= 0:
            if len(statement) > 1:
                yield statement
            statement, depth = [], 0
    if statement:
        yield statement


def text_of(tokens: Sequence[Token]) -> str:
    return "".join(f"{token.before}{token.text}" for token in tokens)


def closing(tokens: Sequence[Token], start: int) -> int:
    """The place of the parenthesis that closes the one at `start`."""
    depth = 0
    for at in range(start, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[at].word, 0)
        if not depth:
            return at
    return len(tokens) - 1


def split(tokens: Sequence[Token], sign: str = ",") -> list[list[Token]]:
    """At each sign that stands in no parentheses. Nothing gives no part."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.word, 0)
        if token.word == sign and not depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts if tokens else []


def find(tokens: Sequence[Token], word: str, start: int = 0) -> int:
    """The first place of a word that stands in no parentheses; -1 if there is none."""
    depth = 0
    for at in range(start, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[at].word, 0)
        if tokens[at].word == word and not depth:
            return at
    return -1


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())
