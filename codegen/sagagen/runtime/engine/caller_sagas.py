"""How many active sagas each caller has, where the contract says how many that may be.

A saga counts from its acceptance until it is over or STUCK, whether it has a task or only waits. Who is anonymous is
nobody in particular, and is not counted: docs/decisions/215-limits-of-a-caller.md
"""

from collections.abc import Mapping

from sagagen.runtime.identity import ANONYMOUS

_NOBODY = frozenset({"", ANONYMOUS})


class CallerSagas:
    """Of one engine."""

    def __init__(self, at_most: int, active: Mapping[str, int]) -> None:
        """`active` is what the log has, by caller."""
        self.at_most = at_most
        self._active = {caller: count for caller, count in active.items() if caller not in _NOBODY}

    def of(self, caller: str) -> int:
        """How many active sagas the caller has; 0 for those that nobody knows."""
        return self._active.get(caller, 0)

    def is_full(self, caller: str) -> bool:
        """This caller may start no saga now."""
        return self.of(caller) >= self.at_most

    def begin(self, caller: str) -> None:
        """A saga of this caller is active from now on."""
        if caller not in _NOBODY:
            self._active[caller] = self._active.get(caller, 0) + 1

    def end(self, caller: str) -> None:
        """One is not any more. Callers without any are forgotten."""
        if caller in _NOBODY:
            return
        left = self._active.get(caller, 0) - 1
        if left > 0:
            self._active[caller] = left
        else:
            self._active.pop(caller, None)
