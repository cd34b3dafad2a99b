"""Texts of others, for a person's eyes: nothing in them moves a cursor, paints a terminal or turns a line around.

Customers and services choose parts of what operators read: keys, refusals, values in errors. A terminal obeys control
characters (ECMA-48) wherever they come from, and hides others. So whatever shows a text to a person shows it `escaped`.
"""

import re

_HARMLESS = re.compile(r"[\x20-\x7e]*", re.ASCII)
_JSON_SPECIAL = "\n"
"""`json.dumps` with an indentation writes line breaks between members; within strings it escapes them itself."""


def escaped(text: str) -> str:
    r"""The text on one line, with what can't be printed as Python writes it: `\n`, `\x1b`, `\u202e`.

    That is every character for which `str.isprintable` is false: controls (C0, C1, DEL), line and paragraph separators,
    marks of direction, halves of surrogates, and what Unicode has not assigned.
    """
    if _HARMLESS.fullmatch(text) or text.isprintable():
        return text
    return "".join(char if char.isprintable() else _as_python_writes(char) for char in text)


def escaped_lines(text: str) -> str:
    """The same for a text of our own that has several lines: its line breaks stay."""
    return "\n".join(escaped(line) for line in text.split("\n"))


def escaped_json(document: str) -> str:
    r"""A JSON document for a terminal: what can't be printed in its strings is written as `\uXXXX` (RFC 8259, 7)."""
    if document.isprintable():
        return document
    return "".join(
        char if char.isprintable() or char in _JSON_SPECIAL else _as_json_writes(char) for char in document
    )


def _as_python_writes(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _as_json_writes(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
