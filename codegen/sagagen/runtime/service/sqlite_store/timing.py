"""Which statements of handlers run in the event loop's own thread, and which are handed to their connection's.

Most statements of a local transaction take 10 to 30 us, and handing one to a thread and back costs three times that. A
statement that is not quick must not hold the loop, though. So a text is first run in the thread; once it was quick
there it runs in place; once it was slow in place it goes back to the thread. And what takes far too long in place is
interrupted, which costs its call a repeat.
"""

import math
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

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


class StatementTiming:
    """What is known of the statements of one service. It may watch one connection at a time."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.now_s = monotonic_s
        self.quick: set[str] = set()
        """Statements that run in place."""
        self._interrupt_at_s = math.inf

    def watch(self, connection: sqlite3.Connection) -> None:
        """Interrupt what takes too long on this connection. Call it once per connection."""
        connection.set_progress_handler(self._is_too_late, _STEPS_BETWEEN_LOOKS)

    def remember_in_thread(self, sql: str, seconds: float) -> None:
        """The statement took so long in the thread."""
        if seconds <= QUICK_S and len(self.quick) < MAX_TEXTS:
            self.quick.add(sql)

    def run_in_place(self, sql: str, run: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Run a quick statement in the calling thread; it is interrupted if it takes far too long."""
        begun_s = self.now_s()
        self._interrupt_at_s = begun_s + INTERRUPTED_AFTER_S
        try:
            return run(*arguments)
        finally:
            self._interrupt_at_s = math.inf
            if self.now_s() - begun_s > SLOW_S:
                self.quick.discard(sql)

    def _is_too_late(self) -> bool:
        return self.now_s() > self._interrupt_at_s
