"""How many sagas a gateway may have under way: a permit for each that it has sent and was not told the end of."""

import time
from collections.abc import Callable, Sequence

from sagagen.runtime.saga.events import Accepted


class Permits:
    """In the order in which they are to be asked about. After a restart all of them are there again."""

    def __init__(self, at_most: int, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.at_most = at_most
        self._now_s = monotonic_s
        self._since_s: dict[str, float] = {}
        self._rows: dict[str, Accepted] = {}

    @property
    def taken(self) -> int:
        return len(self._since_s)

    @property
    def room(self) -> int:
        return max(0, self.at_most - self.taken)

    def take(self, saga_id: str) -> bool:
        """False for a repeat, which changes nothing."""
        if saga_id in self._since_s:
            return False
        self._since_s[saga_id] = self._now_s()
        return True

    def accepted(self, saga_id: str, row: Accepted) -> None:
        """It was accepted with this row, and no other: before that, another gateway may have been first."""
        self.take(saga_id)
        self._rows[saga_id] = row

    def row(self, saga_id: str) -> Accepted | None:
        """What the saga was accepted with, here, while its permit is out."""
        return self._rows.get(saga_id)

    def of_caller(self, caller: str) -> int:
        """How many are out for sagas of this caller."""
        return sum(row.caller == caller for row in self._rows.values())

    def give_back(self, saga_id: str) -> None:
        self._since_s.pop(saga_id, None)
        self._rows.pop(saga_id, None)

    def longest(self, count: int, older_than_s: float) -> Sequence[str]:
        """Those that were taken, or asked about, longest ago."""
        until_s = self._now_s() - older_than_s
        found: list[str] = []
        for saga_id, since_s in self._since_s.items():
            if len(found) == count or since_s > until_s:
                break
            found.append(saga_id)
        return found

    def look_later(self, saga_id: str) -> None:
        """It is under way still: others are asked about before it."""
        if self._since_s.pop(saga_id, None) is not None:
            self._since_s[saga_id] = self._now_s()
