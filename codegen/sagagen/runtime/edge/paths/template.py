"""Path templates of google.api.http: parsed once, matched often.

    Template = "/" [ Segments ] [ ":" Verb ]        Segments = Segment { "/" Segment }
    Segment  = "*" | "**" | Literal | "{" FieldPath [ "=" Segments ] "}"

The grammar is that of google/api/http.proto. `*` stands for one segment that is not empty, `**` for any number of
them, none included, and only at the end. Needs the standard library alone: the static checks of a contract import it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import unquote_to_bytes

_LITERAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+")
_VERB = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=@]|%[0-9A-Fa-f]{2})+")
_FIELD_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_ENCODED_SLASH = re.compile(r"%2[fF]")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

ANY = "*"
ANY_REST = "**"
"""Wildcards in `Template.segments` and `Template.shape`; a literal of either spelling can't be written."""


class TemplateError(ValueError):
    """A template that is not well formed. `offset` counts characters from the start of the template, from 0."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class PathError(ValueError):
    """A request's path that can't be decoded: a broken percent escape, or bytes that are no UTF-8."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A part of the path that fills a field of the request."""

    path: str
    """Dotted: `order.id`."""
    start: int
    """First segment that it covers."""
    stop: int
    """Segment after its last one."""
    offset: int
    """Where its name stands in the template's text."""
    is_multi: bool
    """Covers `**` or several segments: then an encoded slash stays encoded, as http.proto demands."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed path template."""

    text: str
    segments: tuple[str, ...]
    """Decoded literals and wildcards, variables replaced by what they cover."""
    verb: str
    """Decoded custom verb without its colon, or empty."""
    bindings: tuple[Variable, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """The dotted paths of the variables, in the order of the template."""
        return tuple(variable.path for variable in self.bindings)

    @property
    def shape(self) -> tuple[str, ...]:
        """What the template matches, whatever its variables are called: equal shapes collide."""
        return (*self.segments, f":{self.verb}") if self.verb else self.segments

    def match(self, path: str) -> dict[str, str] | None:
        """The decoded value of each variable if `path` (as sent, still percent-encoded) matches, else None.

        Raises PathError for a path that can't be decoded.
        """
        segments, verb = split_path(path, has_verb=bool(self.verb))
        if segments is None or verb != self.verb or not _fits(self.segments, decode_all(segments)):
            return None
        return self.bind(segments)

    def bind(self, raw: Sequence[str]) -> dict[str, str]:
        """The decoded value of each variable, from the raw segments of a path that matches."""
        return {variable.path: _value(variable, raw, len(self.segments)) for variable in self.bindings}


def parse_template(text: str) -> Template:
    """Parse a path template. Raises TemplateError."""
    return _Parser(text).template()


def split_path(path: str, *, has_verb: bool) -> tuple[list[str] | None, str]:
    """The raw segments of a path, and the decoded verb if `has_verb` asks to split one off the last segment.

    Without leading slash, or where a verb is asked for and there is none, the segments are None.
    """
    if not path.startswith("/"):
        return None, ""
    segments = path[1:].split("/") if path != "/" else []
    if not has_verb:
        return segments, ""
    stem, colon, verb = segments[-1].rpartition(":") if segments else ("", "", "")
    if not colon or not verb:
        return None, ""
    return [*segments[:-1], stem], decode(verb)


def decode_all(raw: Sequence[str]) -> list[str]:
    return [decode(segment) for segment in raw]


def decode(raw: str) -> str:
    """A percent-decoded path segment. Raises PathError."""
    if "%" not in raw:
        return raw
    if broken := _BROKEN_ESCAPE.search(raw):
        raise PathError(f"the path has a broken percent escape: {raw[broken.start() : broken.start() + 3]!r}")
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise PathError("the path is not UTF-8 once it is decoded") from error


def _value(variable: Variable, raw: Sequence[str], template_length: int) -> str:
    # A `**` makes the path longer or shorter than the template; it is always last, so only `stop` moves.
    stop = len(raw) if variable.stop == template_length else variable.stop
    if not variable.is_multi:
        return decode(raw[variable.start])
    return "/".join(_decode_but_slashes(segment) for segment in raw[variable.start : stop])


def _decode_but_slashes(raw: str) -> str:
    """http.proto: in a multi-segment variable `%2F` and `%2f` are left as they are."""
    parts = _ENCODED_SLASH.split(raw)
    slashes = [*_ENCODED_SLASH.findall(raw), ""]
    return "".join(decode(part) + slash for part, slash in zip(parts, slashes, strict=True))


def _fits(pattern: Sequence[str], path: Sequence[str]) -> bool:
    if pattern and pattern[-1] == ANY_REST:
        fixed = len(pattern) - 1
        has_length = len(path) >= fixed and all(path[fixed:])
    else:
        fixed = len(pattern)
        has_length = len(path) == fixed
    return has_length and all(
        part != "" if wanted == ANY else part == wanted
        for wanted, part in zip(pattern[:fixed], path, strict=False)
    )


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._end = len(text)
        self._segments: list[str] = []
        self._bindings: list[Variable] = []

    def template(self) -> Template:
        if not self._text.startswith("/"):
            self._fail("a path template starts with '/'", 0)
        verb = self._split_verb()
        self._at = 1
        if self._end > 1:
            self._parse_segments(is_nested=False)
        if self._at < self._end:
            self._fail(f"unexpected {self._text[self._at]!r}", self._at)
        self._check_rest()
        return Template(self._text, tuple(self._segments), verb, tuple(self._bindings))

    def _split_verb(self) -> str:
        """The verb follows the last colon behind the last slash that is outside braces."""
        colon = self._text.rfind(":", max(self._text.rfind("}"), self._text.rfind("/")) + 1)
        if colon < 0:
            return ""
        verb = self._text[colon + 1 :]
        if not _VERB.fullmatch(verb):
            self._fail(f"{verb!r} is no verb" if verb else "the verb after ':' is missing", colon + 1)
        self._end = colon
        return self._decoded(verb, colon + 1)

    def _parse_segments(self, *, is_nested: bool) -> None:
        self._parse_segment(is_nested=is_nested)
        while self._peek() == "/":
            self._at += 1
            self._parse_segment(is_nested=is_nested)

    def _parse_segment(self, *, is_nested: bool) -> None:
        match self._peek():
            case "{" if is_nested:
                self._fail("a variable can't contain another variable", self._at)
            case "{":
                self._parse_variable()
            case "" | "/" | "}" | "=":
                self._fail("a segment is missing: literal, '*', '**' or '{variable}'", self._at)
            case _:
                self._parse_plain(stops="/}" if is_nested else "/{}")

    def _parse_plain(self, *, stops: str) -> None:
        start = self._at
        while self._peek() and self._peek() not in stops:
            self._at += 1
        part = self._text[start : self._at]
        self._segments.append(part if part in (ANY, ANY_REST) else self._literal(part, start))

    def _literal(self, part: str, start: int) -> str:
        self._check_literal(part, start)
        literal = self._decoded(part, start)
        if literal in (ANY, ANY_REST):
            self._fail("an encoded '*' can't stand alone in its segment", start)
        return literal

    def _check_literal(self, part: str, start: int) -> None:
        legal = _LITERAL.match(part)
        length = legal.end() if legal else 0
        if length < len(part):
            self._fail(f"{part[length]!r} can't stand in a literal segment", start + length)
        if "*" in part:
            self._fail("'*' stands alone in its segment", start + part.index("*"))

    def _parse_variable(self) -> None:
        opened = self._at
        self._at += 1
        name = _FIELD_PATH.match(self._text, self._at, self._end)
        if not name:
            self._fail("a variable is named after a field: {field} or {field.of.it}", self._at)
        offset, self._at, start = self._at, name.end(), len(self._segments)
        if self._peek() == "=":
            self._at += 1
            self._parse_segments(is_nested=True)
        else:
            self._segments.append(ANY)
        if not self._peek():
            self._fail("'{' is not closed", opened)
        if self._peek() != "}":
            self._fail(f"unexpected {self._peek()!r} in a variable", self._at)
        self._at += 1
        self._bind(name.group(), start, offset)

    def _bind(self, path: str, start: int, offset: int) -> None:
        if any(variable.path == path for variable in self._bindings):
            self._fail(f"the variable {path!r} stands twice in this path", offset)
        stop = len(self._segments)
        is_multi = stop - start > 1 or self._segments[start] == ANY_REST
        self._bindings.append(Variable(path, start, stop, offset, is_multi))

    def _check_rest(self) -> None:
        if ANY_REST in self._segments[:-1]:
            self._fail("'**' must be the last segment", self._text.index(ANY_REST))

    def _peek(self) -> str:
        return self._text[self._at] if self._at < self._end else ""

    def _decoded(self, part: str, offset: int) -> str:
        try:
            return decode(part)
        except PathError:
            self._fail("the percent escapes are no UTF-8", offset)

    def _fail(self, message: str, offset: int) -> NoReturn:
        raise TemplateError(message, offset)
