"""Expressions without quotes in saga.yaml that YAML reads as something else: what was meant."""

import re

from sagagen.expression.quoting import expression_at, is_expression

_KEY = re.compile(r"(?:^|[\s{,\[])(?:[\w.-]+|'[^'\n]*'|\"[^\"\n]*\"):\s+(?=\S)", re.MULTILINE)
_REACH = 2_000
"""Characters before a syntax error among which its value begins; no expression is longer."""
_TAG = re.compile(r"!(?:![a-z]+(?:\s|$)|<|\s|$)")
"""A tag that nobody means as an expression: `!!str`, `!<...>`, a `!` alone."""
_BEFORE_ANCHOR = re.compile(r"![^\s!]*\s+\Z")
_NEGATION = re.compile(r"(?:^|[\[,]\s*)!")


def tag_start(text: str, begin: int) -> int | None:
    """Where the tag of a value is that begins at an index of the file, if it is the first of its properties."""
    return begin if text.startswith("!", begin) else tag_before(text, begin)


def tag_before(text: str, begin: int) -> int | None:
    """ruamel.yaml lets a value with a tag and an anchor begin at the anchor: `!a && b` has the anchor `&`."""
    if not text.startswith("&", begin):
        return None
    before = text[max(0, begin - _REACH) : begin]
    found = _BEFORE_ANCHOR.search(before)
    return begin - len(before) + found.start() if found else None


def negated(text: str, at: int, until: int) -> str | None:
    """The expression that begins with the `!` at an index of the file, or None if it is none.

    `until`: an index up to which YAML reads the value.
    """
    if _TAG.match(text, at):
        return None
    found = expression_at(text, at, until)
    return found if is_expression(found) else None


def cut(text: str, start: int, end: int, value: str) -> str | None:
    """The whole of an expression of which YAML took what stands from `start` to `end`; None if that is all of it."""
    is_whole = value.count("(") == value.count(")") and value.count("[") == value.count("]")
    if is_whole and value.count("'") % 2 == 0 and value.count('"') % 2 == 0:
        return None
    found = expression_at(text, start, end)
    return found if start + len(found) > end and is_expression(found) else None


def broken(text: str, at: int) -> tuple[int, str] | None:
    """Index and text of the expression that YAML stumbles over at an index of the file; None if there is none."""
    start = max(0, at - _REACH)
    keys = [match.end() for match in _KEY.finditer(text, start, at)]
    if not keys:
        return None
    begin = keys[-1]
    found = expression_at(text, begin, at)
    is_it = begin + len(found) > at or _NEGATION.search(found) is not None
    return (begin, found) if is_it and is_expression(found) else None
