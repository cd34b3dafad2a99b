"""Expressions that YAML reads in its own way unless they are in quotes: `!a`, `a ? b : c`, `'a' == b`."""

import json
from collections.abc import Iterator

from sagagen.expression.codes import Code
from sagagen.expression.literals import Fault
from sagagen.expression.parser import parse
from sagagen.expression.problem import Problem
from sagagen.source import Mapping, Node, Scalar

_OPENING, _CLOSING = "([{", ")]}"


def in_yaml(text: str) -> str:
    """`text` as a quoted YAML scalar of one line."""
    if not text.isprintable():
        return json.dumps(text, ensure_ascii=False)
    if '"' in text or "\\" in text:
        return f"'{text.replace(chr(39), chr(39) * 2)}'"
    return f'"{text}"'


def is_expression(text: str) -> bool:
    """Whether it is CEL, whatever its names mean."""
    try:
        parse(text)
    except Fault:
        return False
    return True


def expression_at(text: str, start: int, until: int) -> str:
    """What stands from `start` on, if it is read as CEL: to the end of the line on which `until` lies, or to a comment,
    or to the comma or bracket that ends it in a YAML list or mapping of one line.
    """
    return text[start : next(_ends(text, start, until))].rstrip()


def _ends(text: str, start: int, until: int) -> Iterator[int]:
    depth, quote, at = 0, "", start
    while at < len(text) and (text[at] != "\n" or at < until):
        character = text[at]
        if quote:
            at += 1 if character == "\\" else 0
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _OPENING:
            depth += 1
        elif (character in _CLOSING or character == ",") and depth == 0:
            yield at
        elif character in _CLOSING:
            depth -= 1
        elif character == "#" and text[at - 1].isspace():
            yield at
        at += 1
    yield min(at, len(text))


def tag(text: str) -> Problem:
    """`text`: an expression that begins with `!`."""
    message = "YAML reads an unquoted value that begins with ! as a tag, and not as an expression"
    return Problem(Code.UNQUOTED_NOT, message, f"put it in quotes: {in_yaml(text)}")


def unquoted(text: str) -> Problem:
    """`text`: an expression that YAML reads as something else for another reason."""
    message = "YAML reads this expression as something else, unless it is in quotes"
    if "?" in text:
        message = 'YAML reads the ": " of an unquoted "a ? b : c" as the end of a key'
    return Problem(Code.UNQUOTED, message, f"put it in quotes: {in_yaml(text)}")


def cut(text: str) -> Problem:
    """`text`: an expression of which YAML reads only the beginning."""
    message = "YAML ends this unquoted value too early: at a comma within { } or [ ], or at a #"
    return Problem(Code.UNQUOTED, message, f"put it in quotes: {in_yaml(text)}")


def unquoted_choice(node: Node) -> Problem | None:
    """For `- a ? b : c` and `[a ? b : c]`, in which YAML sees a mapping with the key `a ? b`."""
    if not isinstance(node, Mapping) or len(node.entries) != 1:
        return None
    key, value = node.entries[0].key, node.entries[0].value
    if " ? " not in key.text or not isinstance(value, Scalar):
        return None
    text = f"{key.text} : {_cel_text(value.text) if value.is_quoted else value.text}"
    return unquoted(text) if is_expression(text) else None


def _cel_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
