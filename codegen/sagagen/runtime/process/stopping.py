"""The last word on how long a process takes to stop.

Each wait of a stop has a limit of its own. A thread that hangs in the system, in an fsync for example, has none, and
Python waits for it: so has the process as a whole.
"""

import asyncio
import faulthandler
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

from sagagen.runtime.clock import Grace

FORCED_AFTER_S = 1.0
"""How long after its grace period a process ends by force, in seconds; before a parent or a container engine does."""


def end_within(grace_s: float) -> None:
    """Let the process end by itself for so many seconds and FORCED_AFTER_S more.

    Then it writes to stderr where each of its threads is, and exits with 1. Works while Python itself is ending.
    """
    faulthandler.dump_traceback_later(grace_s + FORCED_AFTER_S, exit=True, file=sys.__stderr__ or 2)


class Stop:
    """A process is told to stop, by a signal or by its parent's end; from then on its grace period runs."""

    def __init__(self, grace: Grace) -> None:
        self.told = asyncio.Event()
        self._grace = grace
        self._was_told = False

    def on_signals(self) -> None:
        """Listen to SIGINT and SIGTERM, in the running loop. A second SIGINT ends the process at once.

        A second SIGTERM does not: make and timeout both send one to a process that runs under the two.
        Python's handlers run between two instructions of any code, those of the event loop only between its tasks: a
        handler that holds the loop (`time.sleep`, a loop without an await) would keep the period from beginning.
        """
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    async def wait(self) -> None:
        """Return once the process is told to stop."""
        await self.told.wait()
        self._begin()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._was_told and number == signal.SIGINT:
            os._exit(128 + number)
        self._was_told = True
        self._begin()
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self.told.set)

    def _begin(self) -> None:
        if self._grace.begin():
            end_within(self._grace.seconds)
