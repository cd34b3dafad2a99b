"""Words of a contract in Markdown and Mermaid: none of them may become markup."""

import html
import re
from collections.abc import Iterable

from sagagen.emit.docstrings import printable
from sagagen.runtime.model.definition import RETRIED_BY_DEFAULT, Retry

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


def commented(text: str) -> str:
    """As a comment of Markdown."""
    lines = (line.strip().replace("--", "- -") for line in text.split("\n"))
    return "\n".join(["<!--", *lines, "-->"])


def quoted(comment: str) -> tuple[str, ...]:
    """A comment of the contract as a block quote, which also ends any Markdown that it leaves open."""
    lines = html.escape(printable(comment), quote=False).strip().split("\n")
    return tuple(f"> {line}".rstrip() for line in lines) if comment.strip() else ()


def code(text: str) -> str:
    """As code, also within a table."""
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0)) if "`" in text else "`"
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}".replace("|", "\\|")


def cell(text: str) -> str:
    """As text within a table."""
    return html.escape(printable(text), quote=False).replace("|", "\\|")


def listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def label(text: str) -> str:
    """Text of a Mermaid diagram; what has a meaning there is written as an entity.

    A lone `end` closes a block in a sequence diagram, so its first letter is one too.
    """
    escaped = "".join(char if char.isalnum() or char in " _/.-:" else f"#{ord(char)};" for char in text)
    return re.sub(r"\bend\b", "#101;nd", escaped)


def in_words(seconds: float) -> str:
    """A duration as saga.yaml writes it: `1d12h`, `50ms`."""
    words, left = "", round(seconds * 1000)
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        words += f"{count}{unit}" if count else ""
    return words or "0s"


def repeats(retry: Retry, until: str) -> str:
    """How a call is repeated: its timing, the codes if they are not the default, and what ends it."""
    pace = f"after {in_words(retry.initial_s)}, then x{retry.multiplier:g} up to {in_words(retry.max_s)}"
    if retry.codes != RETRIED_BY_DEFAULT:
        names = sorted(code.name for code in retry.codes)
        pace = f"{pace}, only on {' '.join(names)}" if names else "never"
    if pace == "never" or retry.max_attempts == 1:
        return "never"
    attempts = f"at most {retry.max_attempts} attempts, " if retry.max_attempts else ""
    return f"{pace}; {attempts}{until}"
