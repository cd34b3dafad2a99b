"""Which statements of handlers run in the event loop's own thread, and which are handed to their connection's.

Most statements of a local transaction take 10 to 30 us, and handing one to a thread and back costs three times that. A
statement that is not quick must not hold the loop, though. So a text is first run in the thread; once it was quick
there it runs in place; once it was slow in place it goes back to the thread. And what takes far too long in place is
interrupted, which costs its call a repeat.
"""

import math
import sqlite3
import time

QUICK_S = 0.0005
"""At most this, measured in the thread: from now on in place."""
SLOW_S = 0.002
"""More than this, measured in place: from now on in the thread."""
INTERRUPTED_AFTER_S = 0.1
"""Of a statement in place that was quick before, and is not now: its table has grown, its parameters differ."""

MAX_TEXTS = 1000
"""Texts that are remembered; a handler that writes values into its SQL has a new one for every call."""
_STEPS_BETWEEN_LOOKS = 20_000
"""Instructions of SQLite's virtual machine: well below a millisecond."""


class StatementPace:
    """What is known of the statements of one service. One connection at a time may be watched by it."""

    def __init__(self) -> None:
        self._quick: set[str] = set()
        self._interrupt_at_s = math.inf

    def watch(self, connection: sqlite3.Connection) -> None:
        """Once per connection."""
        connection.set_progress_handler(self._is_too_late, _STEPS_BETWEEN_LOOKS)

    def is_quick(self, sql: str) -> bool:
        return sql in self._quick

    def note_in_thread(self, sql: str, seconds: float) -> None:
        if seconds <= QUICK_S and len(self._quick) < MAX_TEXTS:
            self._quick.add(sql)

    def begin_in_place(self) -> float:
        """The time, in seconds, for `end_in_place`."""
        now_s = time.monotonic()
        self._interrupt_at_s = now_s + INTERRUPTED_AFTER_S
        return now_s

    def end_in_place(self, sql: str, begun_s: float) -> None:
        self._interrupt_at_s = math.inf
        if time.monotonic() - begun_s > SLOW_S:
            self._quick.discard(sql)

    def _is_too_late(self) -> bool:
        return time.monotonic() > self._interrupt_at_s
