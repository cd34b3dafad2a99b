"""Taking many sagas up without keeping an event loop from all else: from a lease, above all, that has to be renewed."""

import asyncio
import time
from collections.abc import Awaitable, Callable

AT_ONCE = 50
"""Sagas that are taken up before the loop is looked at."""
NAP_S = 0.01
QUICK_S = 0.05
"""A loop that wakes a sleeper no more than so many seconds late has time for more."""
AT_MOST_S = 1.0
"""It is not waited for longer than that: a machine that is always slow has to go on too."""


class Pace:
    """`nap` sleeps for about NAP_S and returns how many seconds it took."""

    def __init__(self, nap: Callable[[], Awaitable[float]] | None = None) -> None:
        self._nap = nap or _nap
        self._count = 0

    async def step(self) -> None:
        """One more saga is under way. Returns when the loop has time for the next."""
        self._count += 1
        if self._count % AT_ONCE:
            return
        waited_s = 0.0
        while waited_s < AT_MOST_S:
            took_s = await self._nap()
            waited_s += took_s
            if took_s <= NAP_S + QUICK_S:
                return


async def _nap() -> float:
    begun_s = time.monotonic()
    await asyncio.sleep(NAP_S)
    return time.monotonic() - begun_s
