"""The place in the file of each character of a YAML scalar.

YAML unquotes, unescapes, folds lines and strips indentation, so a character's place does not follow from the scalar's
start. Rather than repeating YAML's folding rules, the raw text is split into units (one unit, one character) and the
scalar's value is matched with them: every character that is not white space is in both, in the same order, and only
white space differs.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sagagen.source import Span

_LINE_END = re.compile("\n")
SIMPLE_ESCAPES = {
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "t": "\t",
    "\t": "\t",
    "n": "\n",
    "v": "\v",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    "N": "\x85",
    "_": "\xa0",
    "L": "\u2028",
    "P": "\u2029",
}
_QUOTES = frozenset({"'", '"'})
CODE_POINT_ESCAPES = {"x": 2, "u": 4, "U": 8}
"""YAML 1.2, section 5.7: the letter after the backslash, and how many hexadecimal digits follow."""


@dataclass(frozen=True, slots=True)
class Places:
    """Turns an index into a file's text into a line and column."""

    path: str
    line_starts: tuple[int, ...]

    @classmethod
    def of(cls, path: str, text: str) -> "Places":
        return cls(path, (0, *(end.end() for end in _LINE_END.finditer(text))))

    def at(self, index: int) -> Span:
        line = bisect_right(self.line_starts, index) - 1
        return Span(self.path, line + 1, index - self.line_starts[line] + 1)


def indices(value: str, raw: str, start: int, style: str | None) -> Sequence[int]:
    """For each character of `value`, and for its end, the index in the file.

    `raw` is the scalar as written, which begins at `start`; `style` is YAML's mark: `'`, `"`, `|`, `>` or None.
    """
    if style is None and raw == value:
        return range(start, start + len(value) + 1)
    if value and style in _QUOTES and raw[1:-1] == value:  # nothing is escaped or folded
        return range(start + 1, start + len(value) + 2)
    units = tuple(_units(raw, style))
    laid = _lay(value, units)
    if laid is None:
        return (start,) * (len(value) + 1)
    return tuple(start + index for index in laid)


def _units(raw: str, style: str | None) -> Iterator[tuple[str, int]]:
    if style == "'":
        yield from _single_quoted(raw)
    elif style == '"':
        yield from _double_quoted(raw)
    else:
        content = raw.find("\n") + 1 if style in {"|", ">"} else 0
        yield from ((character, content + index) for index, character in enumerate(raw[content:]))


def _single_quoted(raw: str) -> Iterator[tuple[str, int]]:
    index = 1
    while index < len(raw) - 1:
        yield raw[index], index
        index += 2 if raw.startswith("''", index) else 1


def _double_quoted(raw: str) -> Iterator[tuple[str, int]]:
    index = 1
    while index < len(raw) - 1:
        character, width = _escape(raw, index) if raw[index] == "\\" else (raw[index], 1)
        if character:
            yield character, index
        index += width


def _escape(raw: str, index: int) -> tuple[str, int]:
    letter = raw[index + 1]
    if letter in CODE_POINT_ESCAPES:
        digits = CODE_POINT_ESCAPES[letter]
        return chr(int(raw[index + 2 : index + 2 + digits], 16)), 2 + digits
    return ("" if letter == "\n" else SIMPLE_ESCAPES.get(letter, letter)), 2


def _lay(value: str, units: Sequence[tuple[str, int]]) -> list[int] | None:
    """None if the two do not match; the caller then falls back to the scalar's start."""
    end = units[-1][1] + 1 if units else 0
    places: list[int] = []
    position = 0
    for character in value:
        while _is_skipped(character, units, position):
            position += 1
        found = units[position] if position < len(units) else ("", end)
        if not character.isspace() and found[0] != character:
            return None
        places.append(found[1])
        position += 1 if found[0] == character or found[0].isspace() else 0
    return [*places, units[position][1] if position < len(units) else end]


def _is_skipped(character: str, units: Sequence[tuple[str, int]], position: int) -> bool:
    """White space of the file that folding or indentation took away."""
    return not character.isspace() and position < len(units) and units[position][0].isspace()
