"""How many active sagas each caller has, where the contract says how many that may be.

Restate counts those of all gateways, by a query that looks through every saga. So it is asked now and then, and always
before somebody is refused; what this gateway has under way it knows by itself. Of several gateways that let a caller's
sagas in at once, each may let in one too many.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.restate.client import Unreachable

Counts = Mapping[str, int]
LETS_IN_S, REFUSES_S = 2.0, 0.25
"""How old, in seconds, what was counted may be for letting somebody in, and for refusing them."""
LETS_IN_TIMES, REFUSES_TIMES = 20, 5
"""The same, in times of what counting takes: it may not be all that Restate does."""


class ActiveOfCallers:
    """`everywhere` counts by caller in all gateways, `here` the sagas of a caller that this one has under way."""

    def __init__(
        self,
        at_most: int,
        everywhere: Callable[[], Awaitable[Counts]],
        here: Callable[[str], int],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.at_most = at_most
        self._everywhere = everywhere
        self._here = here
        self._now_s = monotonic_s
        self._counted: Counts = {}
        self._began_s = -1e9
        self._took_s = 0.0
        self._counting = asyncio.Lock()

    async def is_full(self, caller: str) -> bool:
        """This caller may start no saga now. Who is anonymous is nobody in particular, and is not counted."""
        if caller in ("", ANONYMOUS):
            return False
        await self._count_if_older(max(LETS_IN_S, LETS_IN_TIMES * self._took_s))
        if self._active(caller) >= self.at_most:
            await self._count_if_older(max(REFUSES_S, REFUSES_TIMES * self._took_s))
        return self._active(caller) >= self.at_most

    def _active(self, caller: str) -> int:
        return max(self._counted.get(caller, 0), self._here(caller))

    async def _count_if_older(self, seconds: float) -> None:
        async with self._counting:
            if self._now_s() - self._began_s < seconds:
                return
            self._began_s = self._now_s()
            try:
                self._counted = await self._everywhere()
            except Unreachable:
                self._counted = {}  # better those of this gateway alone than who was counted an hour ago
            self._took_s = self._now_s() - self._began_s
