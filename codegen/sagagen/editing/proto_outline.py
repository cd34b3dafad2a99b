"""The places of declarations, rpcs and imports in a proto file, from its tokens alone.

buf reports what is wrong with a proto; this reads any whose brackets close.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sagagen.editing.text import CannotAdd
from sagagen.workspace.source_text import SourceText

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/)
      | (?P<token>"(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | \.?[A-Za-z_][\w.]* | .)""",
    re.DOTALL | re.VERBOSE,
)
_CLOSING = {"{": "}", "(": ")", "[": "]"}


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Statement:
    """From its first word to its semicolon or closing bracket."""

    tokens: tuple[Token, ...]

    @property
    def start(self) -> int:
        return self.tokens[0].start

    @property
    def end(self) -> int:
        return self.tokens[-1].end

    @property
    def keyword(self) -> str:
        return self.tokens[0].text

    @property
    def name(self) -> str:
        return self.tokens[1].text if len(self.tokens) > 1 else ""

    @property
    def open(self) -> Token | None:
        """The curly bracket that begins its body."""
        return next((token for token in self.tokens if token.text == "{"), None)

    @property
    def close(self) -> Token:
        return self.tokens[-1]

    def body(self) -> tuple["Statement", ...]:
        if self.open is None:
            return ()
        return tuple(_statements(self.tokens[self.tokens.index(self.open) + 1 : -1]))

    def types(self) -> tuple[str, ...]:
        """For an rpc: its request and response, as written."""
        texts = [token.text for token in self.tokens]
        opened = [index for index, text in enumerate(texts) if text == "("][:2]
        return tuple(texts[texts.index(")", index) - 1] for index in opened)


@dataclass(frozen=True, slots=True)
class ProtoOutline:
    source: SourceText
    path: str
    """Relative to the project root."""
    statements: tuple[Statement, ...]

    @staticmethod
    def read(source: SourceText, path: str) -> "ProtoOutline":
        """Raises CannotAdd where the brackets do not close."""
        try:
            outline = ProtoOutline(source, path, tuple(_statements(tuple(_tokens(source.text)))))
            for service in outline.services:
                service.body()
            return outline
        except _NotClosed as problem:
            line = source.line(problem.at)
            raise CannotAdd(f"{path}:{line}: this is not closed; `sagagen check` says more") from None

    @property
    def package(self) -> str:
        return next((found.name for found in self._all("package")), "")

    @property
    def imports(self) -> tuple[Statement, ...]:
        return tuple(self._all("import"))

    @property
    def services(self) -> tuple[Statement, ...]:
        return tuple(found for found in self._all("service") if found.open is not None)

    @property
    def declarations(self) -> tuple[Statement, ...]:
        return tuple(self._all("message", "enum", "service", "extend"))

    def service(self, full_name: str) -> Statement | None:
        return next((found for found in self.services if self.full_name(found) == full_name), None)

    def full_name(self, declared: Statement) -> str:
        return f"{self.package}.{declared.name}" if self.package else declared.name

    def named(self, name: str) -> Statement | None:
        """A declaration at the top."""
        return next((found for found in self.declarations if found.name == name), None)

    def at(self, statement: Statement) -> str:
        """`path:line`, for messages."""
        return f"{self.path}:{self.source.line(statement.start)}"

    def _all(self, *keywords: str) -> Iterator[Statement]:
        return (found for found in self.statements if found.keyword in keywords)


def rpcs(service: Statement) -> tuple[Statement, ...]:
    return tuple(found for found in service.body() if found.keyword == "rpc")


class _NotClosed(Exception):
    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


def _tokens(text: str) -> Iterator[Token]:
    return (
        Token(found["token"], found.start()) for found in _TOKEN.finditer(text) if found["token"] is not None
    )


def _statements(tokens: Sequence[Token]) -> Iterator[Statement]:
    start = 0
    while start < len(tokens):
        end = _end(tokens, start)
        if tokens[start].text != ";":
            yield Statement(tuple(tokens[start:end]))
        start = end


def _end(tokens: Sequence[Token], start: int) -> int:
    """The index behind the statement's last token. An option ends with a semicolon, whatever its value is."""
    index = start
    while index < len(tokens):
        text = tokens[index].text
        if text == ";":
            return index + 1
        if text in _CLOSING:
            index = _closing(tokens, index)
            if text == "{" and tokens[start].text != "option":
                return index + 1
        elif text in _CLOSING.values():
            raise _NotClosed(tokens[index].start)
        index += 1
    raise _NotClosed(tokens[start].start)


def _closing(tokens: Sequence[Token], opened: int) -> int:
    open_brackets: list[int] = []
    for index in range(opened, len(tokens)):
        text = tokens[index].text
        if text in _CLOSING:
            open_brackets.append(index)
        elif text in _CLOSING.values():
            if _CLOSING[tokens[open_brackets.pop()].text] != text:
                break
            if not open_brackets:
                return index
    raise _NotClosed(tokens[opened].start)
