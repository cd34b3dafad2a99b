"""The line of writes before the saga log's commit: their order is the order of the log, and their number is bounded."""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

MAX_GROUP = 256
"""Writes in one transaction: above it a commit's time grows with its size and no longer with its fsync."""
MAX_WAITING = 4096
"""Writes in the queue and in the commit on its way; whoever brings more waits for room."""
GATHER_S = 0.02
"""Time in seconds that a commit waits at most for the rows of writers that are at work on some."""


@dataclass(slots=True, eq=False)
class LogWrite:
    """One unit of work: all of it is in the log, or none."""

    work: Callable[[sqlite3.Connection], int | None]
    done: asyncio.Future[int | None] | None = None
    """None: it rides along, and nobody waits."""
    is_long: bool = False
    """It may take milliseconds: too long for the event loop's own thread."""


class WriteQueue:
    """Bounded and first in, first out. It knows who waits, and whether a commit is worth its fsync."""

    def __init__(
        self,
        *,
        max_waiting: int = MAX_WAITING,
        gather_s: float = GATHER_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_closing = False
        self._max_waiting = max_waiting
        self._gather_s = gather_s
        self._monotonic_s = monotonic_s
        self._writes: deque[LogWrite] = deque()
        self._committing = 0
        """Writes that have left the queue and are not settled: they count against the bound until then."""
        self._awaited = 0
        """Writes in the queue that somebody waits for."""
        self._has_room = asyncio.Event()
        self._at_work: Callable[[float], int] = lambda _: 0

    @property
    def is_empty(self) -> bool:
        return not self._writes

    @property
    def is_awaited(self) -> bool:
        return self._awaited > 0

    @property
    def is_full(self) -> bool:
        return len(self._writes) + self._committing >= self._max_waiting

    @property
    def is_enough(self) -> bool:
        """Half of those at work have brought their rows, or nobody waits."""
        if not self._awaited:
            return True
        return self._awaited * 2 >= min(self._at_work(self._monotonic_s() - self._gather_s), MAX_GROUP)

    def gather_for(self, at_work: Callable[[float], int]) -> None:
        """`at_work`: see `GroupWriter.gather_for`."""
        self._at_work = at_work

    def append(self, write: LogWrite) -> None:
        self._writes.append(write)
        if write.done:
            self._awaited += 1

    async def wait_for_room(self) -> None:
        """Until a write has left; whether there is room then is for the caller to ask."""
        self._has_room.clear()
        await self._has_room.wait()

    def close(self) -> None:
        """No more is accepted, and whoever waits for room is woken to hear of it."""
        self.is_closing = True
        self._has_room.set()

    def next_group(self) -> list[LogWrite]:
        """The writes of the next commit, which stay in the queue."""
        return list(islice(self._writes, MAX_GROUP))

    def dequeue(self, group: Sequence[LogWrite]) -> None:
        """Take the next group out: it is on its way, until it is settled or put back."""
        for write in group:
            self._writes.popleft()
            if write.done:
                self._awaited -= 1
        self._committing += len(group)

    def settle(self, group: Sequence[LogWrite]) -> None:
        """The group is written: there is room for as many."""
        self._committing -= len(group)
        self._has_room.set()

    def put_back(self, group: Sequence[LogWrite]) -> list[LogWrite]:
        """Nothing of the group was written, and nothing more can be for now: give up all that somebody waits for.

        What rides along stays, in its order, before whatever comes later; not if the log closes, since then no later
        commit comes. Returns what was given up.
        """
        writes = [*group, *self._writes]
        given_up = [write for write in writes if write.done or self.is_closing]
        self._writes = deque(write for write in writes if not (write.done or self.is_closing))
        self._committing -= len(group)
        self._awaited = 0
        if given_up:
            self._has_room.set()
        return given_up
