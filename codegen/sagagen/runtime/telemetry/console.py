"""Terminal output of a process: log lines and the outcomes of sagas, in the order in which they happened.

Telling is cheap: lines are collected, and written together. A log line is written at once, with all that came before.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from textwrap import wrap
from typing import TextIO

SOON_S = 0.05
"""How long a line may wait for others, in seconds."""
INDENT = " " * 10
"""Stands in place of the time, on the lines that continue a line."""
SHORT_ID = 8
_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Console:
    """A text stream that people read; stands in for it as the stream of a logging handler."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._parts: deque[str] = deque()  # as a list that several threads may use
        self._is_due = False
        """The loop will write what is told."""
        self._is_terminal = stream.isatty()
        self._has_colours = self._is_terminal and not os.environ.get("NO_COLOR")

    def tell(self, line: str) -> None:
        """Show a line, without its end, within SOON_S seconds. Needs a running event loop."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(SOON_S, self._when_due)
        self._parts.append(line + "\n")

    def _when_due(self) -> None:
        self._is_due = False
        self.flush()

    def write(self, text: str) -> None:
        """Show it with the next `flush`."""
        self._parts.append(text)

    def flush(self) -> None:
        """Write what was collected. A terminal that is gone is no reason to fail."""
        parts: list[str] = []
        with suppress(IndexError):
            while True:
                parts.append(self._parts.popleft())
        if parts:
            with suppress(OSError, ValueError):
                self._stream.write("".join(parts))
                self._stream.flush()

    @property
    def columns(self) -> int:
        """The terminal's width in characters; 0 if nothing limits a line."""
        if not self._is_terminal:
            return 0
        with suppress(OSError, ValueError):
            return os.get_terminal_size(self._stream.fileno()).columns
        return 0

    def paint(self, text: str, *styles: str) -> str:
        """The text in a colour, where there are any (https://no-color.org)."""
        if not text or not styles or not self._has_colours:
            return text
        return f"\x1b[{';'.join(_COLOURS[style] for style in styles)}m{text}\x1b[0m"


def clock() -> str:
    """The local time of day, as people at a terminal have it: `14:35:10`."""
    return time.strftime("%H:%M:%S")


def short_id(saga_id: str) -> str:
    """As few characters as tell sagas apart; `sagagen sagas show` takes them.

    UUIDs of version 7 begin with the time: those of a minute have the first eight digits in common.
    """
    return saga_id[:13] if saga_id[14:15] == "7" else saga_id[:SHORT_ID]


def broken(text: str, columns: int) -> tuple[str, int]:
    """A text that follows the time, on as many lines as it needs, and how many characters stand on the last one."""
    lines = (
        wrap(text, max(columns - len(INDENT), 20))
        if columns and len(text) > columns - len(INDENT)
        else [text]
    )
    return f"\n{INDENT}".join(lines), len(INDENT) + len(lines[-1])


def folded(parts: Iterable[str], columns: int, used: int = 0) -> str:
    """Texts, two spaces apart, with a line break before each that the line has no room for.

    `used` characters stand on the first line already. A text that is longer than a line is broken between words.
    """
    room = max(columns - len(INDENT), 20)
    lines, left = [""], columns - used - 2
    for part in parts:
        if not columns or len(part) <= left:
            lines[-1] += f"  {part}"
            left -= len(part) + 2
            continue
        lines.extend(f"{INDENT}{piece}" for piece in wrap(part, room))
        left = columns - len(lines[-1]) - 2
    return "\n".join(lines)
