"""CEL's literals: where texts begin and end, and what numbers and escapes mean (CEL specification, "Values")."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

INT64_LOW, INT64_HIGH = -(2**63), 2**63 - 1
UINT64_HIGH = 2**64 - 1

_SIMPLE_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`",
}  # fmt: skip
_NUMERIC_ESCAPE = re.compile(r"[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}")
_PREFIX = re.compile(r"(?<![A-Za-z0-9_])[bB]?[rR]?$")


class Fault(Exception):
    """The text of an expression can't be read. `at` is the offset of what is wrong."""

    def __init__(self, at: int, message: str, hint: str = "", *, is_literal: bool = False) -> None:
        super().__init__(message)
        self.at = at
        self.message = message
        self.hint = hint
        self.is_literal = is_literal


@dataclass(frozen=True, slots=True)
class Quoted:
    """Where a text stands: its opening quote, the characters between the quotes, and its end."""

    quote_at: int
    start: int
    stop: int
    end: int


def blanked(text: str) -> str:
    """The expression with every text's characters replaced by x, at the same length.

    cel-python's grammar ends a text at an escaped quote. It needs to see no escapes: the texts are read from the
    original. Raises Fault for a text without an end.
    """
    characters = list(text)
    for quoted in _texts(text):
        characters[quoted.start : quoted.stop] = "x" * (quoted.stop - quoted.start)
    return "".join(characters)


def _texts(text: str) -> Iterator[Quoted]:
    at = 0
    while at < len(text):
        if text.startswith("//", at):
            at = _end_of_line(text, at)
        elif text[at] in "'\"":
            quoted = _text_at(text, at)
            yield quoted
            at = quoted.end
        else:
            at += 1


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _text_at(text: str, quote_at: int) -> Quoted:
    quote = text[quote_at]
    mark = quote * 3 if text.startswith(quote * 3, quote_at) else quote
    prefix = _PREFIX.search(text, 0, quote_at)
    is_raw = prefix is not None and "r" in prefix.group().lower()
    start = at = quote_at + len(mark)
    while at < len(text) and not (len(mark) == 1 and text[at] == "\n"):
        if text.startswith(mark, at):
            return Quoted(quote_at, start, at, at + len(mark))
        at += 2 if text[at] == "\\" and not is_raw else 1
    raise Fault(quote_at, "this text has no closing quote", f"end it with {mark}", is_literal=True)


def read_number(text: str, at: int) -> int:
    """An int (`-0x1F`, `42`) or uint (`42u`) literal. Raises Fault if it is out of range."""
    digits, is_unsigned = text.rstrip("uU"), text[-1] in "uU"
    is_hexadecimal = "x" in digits.lower()
    value = int(digits, 16 if is_hexadecimal else 10)
    low, high = (0, UINT64_HIGH) if is_unsigned else (INT64_LOW, INT64_HIGH)
    if not low <= value <= high:
        name = "uint" if is_unsigned else "int"
        raise Fault(at, f"{text} does not fit {name}", f"{name} is {low} to {high}", is_literal=True)
    return value


def read_double(text: str, at: int) -> float:
    """Raises Fault for a number that a double rounds to infinity."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Fault(at, f"{text} does not fit double", "the largest double is about 1.8e308", is_literal=True)
    return value


def read_string(text: str, at: int) -> str:
    """The characters of a string literal. Raises Fault with the offset of an escape that CEL does not know."""
    return "".join(chr(part) if isinstance(part, int) else part for part in _parts(text, at, is_bytes=False))


def read_bytes(text: str, at: int) -> bytes:
    """The bytes of a bytes literal: UTF-8 of what is written, the byte itself for a numeric escape."""
    parts = _parts(text, at, is_bytes=True)
    return b"".join(bytes([part]) if isinstance(part, int) else part.encode() for part in parts)


def _parts(text: str, at: int, *, is_bytes: bool) -> Iterator[str | int]:
    """The literal's characters; for a numeric escape, its number."""
    start = len(text) - len(text.lstrip("bBrR"))
    width = 3 if text.startswith(text[start] * 3, start) and len(text) - start >= 6 else 1
    body, body_at = text[start + width : len(text) - width], at + start + width
    if "r" in text[:start].lower():
        yield body
        return
    position = 0
    while position < len(body):
        if body[position] != "\\":
            yield body[position]
            position += 1
        else:
            part, length = _escape(body, position, body_at + position, is_bytes=is_bytes)
            yield part
            position += length


def _escape(body: str, position: int, at: int, *, is_bytes: bool) -> tuple[str | int, int]:
    """What the escape at `position` stands for, and its length."""
    following = body[position + 1 : position + 2]
    if following in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[following], 2
    match = _NUMERIC_ESCAPE.match(body, position + 1)
    if match is None or (is_bytes and following in "uU"):
        raise Fault(
            at,
            f"there is no escape \\{following}",
            "write \\\\ for a backslash, or r'...' for a text without escapes",
            is_literal=True,
        )
    digits = match.group().lstrip("xXuU")
    number = int(digits, 16 if following in "xXuU" else 8)
    if 0xD800 <= number <= 0xDFFF or number > 0x10FFFF:
        raise Fault(
            at,
            f"{match.group()} is not a Unicode character",
            "write a pair of surrogates as one \\U",
            is_literal=True,
        )
    return number, 1 + len(match.group())
