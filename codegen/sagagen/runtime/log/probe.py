"""Does a database's thread still take turns? One that is dead or blocked answers nobody, and says so nowhere else."""

import asyncio

from sagagen.runtime.sqlite.database import Database

WITHIN_S = 1.5
"""Time in seconds that a turn may take: less than readiness gives a check, so that the answer names the thread."""


class ThreadProbe:
    """Asks for a turn; one at a time, however often and by however many it is asked."""

    def __init__(self, database: Database, thread: str, within_s: float = WITHIN_S) -> None:
        """`thread` names it in the answer."""
        self._database = database
        self._thread = thread
        self._within_s = within_s
        self._turn: asyncio.Future[None] | None = None

    async def check(self) -> str:
        """What is wrong, in a few words; empty if the thread took its turn in time."""
        try:
            turn = self._begun()
        except ValueError as error:  # the database is closed
            return f"its {self._thread} thread has ended ({error})"
        await asyncio.wait([turn], timeout=self._within_s)
        return "" if turn.done() else f"its {self._thread} thread does not answer within {self._within_s:g} s"

    def _begun(self) -> "asyncio.Future[None]":
        # A turn that has had no answer yet is waited for again: another one would only stand behind it in the thread.
        if self._turn is None or self._turn.done():
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._database.hand_over(lambda _: None, lambda _: turn.set_result(None))
            self._turn = turn
        return self._turn
