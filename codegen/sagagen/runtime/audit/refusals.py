"""How many refusals are kept one by one: a flood of them must neither fill the disk nor hide what others do.

Each caller has an allowance of its own, and strangers share one. What is beyond it is counted, and told once a minute.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sagagen.runtime.audit.entry import AuditEntry, Result

WINDOW_S = 60.0
STRANGERS = 10
"""Refusals of people whom nobody knows that are kept one by one in each window: anybody can cause them."""
EACH_CALLER = 60
"""Of each caller who is known."""
MAX_CALLERS = 100
"""Callers with an allowance of their own in one window; what the others do is counted."""


@dataclass(slots=True)
class _Counted:
    kept: int = 0
    beyond: int = 0
    last: AuditEntry | None = None


class RefusalAllowance:
    """Decides which refusals are kept, and sums up the others."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._now_s = monotonic_s
        self._since_s = monotonic_s()
        self._callers: dict[str, _Counted] = {}

    @property
    def is_over(self) -> bool:
        """The window has ended: `sums` are due."""
        return self._now_s() - self._since_s >= WINDOW_S

    @property
    def left_s(self) -> float:
        """Until the window ends, in seconds."""
        return max(0.0, WINDOW_S - (self._now_s() - self._since_s))

    def takes(self, entry: AuditEntry) -> bool:
        """Whether it is kept as it is; otherwise it is counted. To be asked of refusals only."""
        key = entry.by if entry.result is not Result.UNKNOWN else ""
        if key not in self._callers and len(self._callers) >= MAX_CALLERS:
            key = _OTHERS
        counted = self._callers.setdefault(key, _Counted())
        most = {"": STRANGERS, _OTHERS: 0}.get(key, EACH_CALLER)
        if counted.kept < most:
            counted.kept += 1
            return True
        counted.beyond += 1
        counted.last = entry
        return False

    def sums(self) -> Sequence[AuditEntry]:
        """An entry for each caller of whom some were not kept; and a new window begins."""
        counted, self._callers = self._callers, {}
        self._since_s = self._now_s()
        return [_sum(key, each, each.last) for key, each in counted.items() if each.last]


_OTHERS = "\0others"
"""Stands for callers without an allowance of their own. No caller's id has a NUL."""


def _sum(key: str, counted: _Counted, last: AuditEntry) -> AuditEntry:
    return replace(
        last,
        by="" if key == _OTHERS else last.by,
        count=counted.beyond,
        reason=f"{counted.beyond} more refusals in a minute; the last: {last.reason}",
    )
