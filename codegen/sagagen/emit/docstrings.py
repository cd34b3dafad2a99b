"""Contract comments as docstrings."""

import textwrap

WIDTH = 96
"""Longest line of a docstring, without its indentation; longer lines of a comment are wrapped."""


def docstring(*paragraphs: str) -> tuple[str, ...]:
    """The lines of a docstring literal, including quotes, without empty paragraphs."""
    text = "\n\n".join(part.strip() for part in paragraphs if part.strip())
    if not text:
        return ()
    lines = _escaped(text)
    if len(lines) == 1 and not lines[0].endswith('"'):
        return (f'"""{lines[0]}"""',)
    return (f'"""{lines[0]}', *lines[1:], '"""')


def printable(text: str) -> str:
    """Without control characters, which Python source may not contain, and without carriage returns."""
    if all(map(str.isprintable, text.split("\n"))):
        return text
    return "".join(char for char in text if char in "\n\t" or char.isprintable())


def first_paragraph(text: str) -> str:
    return text.strip().split("\n\n")[0]


def _escaped(text: str) -> list[str]:
    source = printable(text).replace("\\", "\\\\").replace('"""', r"\"\"\"")
    return [wrapped.rstrip() for line in source.split("\n") for wrapped in _wrapped(line)]


def _wrapped(line: str) -> list[str]:
    indentation = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line, WIDTH, subsequent_indent=indentation, break_long_words=False, break_on_hyphens=False
    ) or [""]
