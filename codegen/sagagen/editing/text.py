"""Where additions may go in a text: lines, their ends, and comments that belong to the line above them."""

import re

from sagagen.workspace.source_text import SourceText

COMMENT = re.compile(r"[ \t]*(#|//)")


class CannotAdd(Exception):
    """Nothing was added; the message says why and what to do."""


def rest_of_line(source: SourceText, at: int) -> str:
    return source.text[at : source.line_end(at)].strip()


def end_of_comments(source: SourceText, at: int, least_indent: int) -> int:
    """The end of the line of `at`, or of the last comment line directly below it with at least that indentation."""
    end = source.line_end(at)
    while source.ends_line(end):
        start = source.next_line(end)
        line = source.text[start : source.line_end(start)]
        if not COMMENT.match(line) or len(line) - len(line.lstrip()) < least_indent:
            break
        end = source.line_end(start)
    return end


def has_blank_line(text: str) -> bool:
    """Whether one of the lines within is blank; the first and the last are parts of lines."""
    return any(not line.strip() for line in text.splitlines()[1:-1]) or bool(
        re.search(r"\n[ \t]*\r?\n", text)
    )
