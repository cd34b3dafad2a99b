"""Calls that have met others on a row are repeated one at a time, in the order in which they came.

Under REPEATABLE READ and SERIALIZABLE, of all that wait for one row the first to commit wins, and the others have to
begin anew: were they to do so together, each commit would send all of them back again. So who is repeated waits for a
turn before its transaction begins: first in this process, without a connection, and then among replicas, by a lock on a
table that nothing else uses. LOCK TABLE is the one lock that a transaction can wait for without taking its snapshot.

A turn is of one statement's text. Who comes to a statement that others wait for, and means the same row, as far as its
parameters tell, does not try it, and lines up at once: otherwise those who come would take the row from those who wait.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID

TABLES = 8
"""Which replicas lock; two statements that share one take turns without need."""

AT_ONCE = 2
"""Calls of a process that are at a turn: one has the table's lock, and the other one waits for it in the database."""


class Met(NamedTuple):
    """The statement at which a call has met another one."""

    sql: str
    row: str
    """What of its parameters most likely tells the row: texts and UUIDs, since numbers are most often amounts."""

    @classmethod
    def at(cls, sql: str, arguments: Sequence[Any]) -> "Met":
        named = [each for each in arguments if isinstance(each, str | UUID)]
        return cls(sql, repr(named or arguments))


class Turns:
    """Of one process."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def is_waited_for(self, sql: str, arguments: Sequence[Any]) -> bool:
        """A call is being repeated because of this statement."""
        line = self._lines.get(sql) if self._lines else None
        return line is not None and Met.at(sql, arguments).row in line.waiting

    @asynccontextmanager
    async def turn(self, met: Met) -> AsyncGenerator[int]:
        """Wait for it, and keep it until the block ends. The number of the table to lock."""
        sql, row = met
        line = self._lines.setdefault(sql, _Line())
        line.waiting[row] = line.waiting.get(row, 0) + 1
        try:
            async with line.turn:
                yield zlib.crc32(sql.encode()) % TABLES
        finally:
            line.waiting[row] -= 1
            if not line.waiting[row]:
                del line.waiting[row]
            if not line.waiting:
                del self._lines[sql]


class _Line:
    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(AT_ONCE)
        self.waiting: dict[str, int] = {}
        """How many calls, by row."""
