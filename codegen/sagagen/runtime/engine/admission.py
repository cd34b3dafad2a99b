"""Whether one more saga may begin: decided by how long those that have begun wait for their first call.

Theory of operation. A saga that is accepted is promised an end, so overload has to be refused before, and early. What
tells it is not how many sagas there are, but whether new ones still get their turn: the line is made of sagas that are
accepted (or just about to be) and have not made a call yet. The idea is CoDel's (RFC 8289): a line is good if it takes
up a burst and is gone soon, and bad if it stands.

    calm       up to BURST may be in line
    crowded    somebody waited for TARGET_S or longer, within the last CALM_S: as many may be in line as get their first
               call within TARGET_S at the rate of late (Little's law), but LEAST in any case
    either     nobody may join while the first in line waits for LATE_S or longer: services do not answer, or the disk

Sagas under way are not in the line, and go before those that are (`calls.Slots`). A service that is away keeps nobody
in line: a call that fails was made.

Pure: the time is an argument, in seconds of the monotonic clock.
"""

TARGET_S = 0.15
"""Time in seconds that a saga may wait for its first call when there is too much to do."""
LATE_S = 0.5
"""Time in seconds after which the first in line says that nothing moves."""
CALM_S = 1.0
"""Time in seconds without a long wait or a refusal after which a burst is welcome again."""
BURST = 128
"""Sagas in line while it is calm."""
LEAST = 32
"""Sagas in line in any case: a rate that was measured while a service hung says little about what it can do."""
WINDOW_S = 0.25
"""Time in seconds over which the rate of first calls is measured."""


class Admission:
    """The line of sagas before their first call."""

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}
        """Who is in line, and since when; the longest first."""
        self._crowded_until_s = float("-inf")
        self._most = LEAST
        """While it is crowded: how many may be in line."""
        self._window_s = float("-inf")
        self._left = 0
        """Sagas that left the line since `_window_s`."""

    def room(self, now_s: float) -> int:
        """How many more sagas may begin; 0 if none."""
        if not self._since_s and now_s >= self._crowded_until_s:
            return BURST
        waits_s = self._longest_wait_s(now_s)
        if waits_s >= TARGET_S:
            self._crowded_until_s = now_s + CALM_S
        if waits_s >= LATE_S:
            return 0
        if now_s >= self._crowded_until_s:
            return BURST - len(self._since_s)
        room = self._most - len(self._since_s)
        if room <= 0:
            # As long as there is somebody to refuse it is not calm, however short that keeps the line.
            self._crowded_until_s = now_s + CALM_S
        return max(0, room)

    def join(self, saga_id: str, now_s: float) -> None:
        """A saga begins."""
        self._since_s[saga_id] = now_s

    def leave(self, saga_id: str, now_s: float) -> None:
        """It makes its first call, or will never make one. A repeat does nothing."""
        since_s = self._since_s.pop(saga_id, None)
        if since_s is None:
            return
        if now_s - since_s >= TARGET_S:
            self._crowded_until_s = now_s + CALM_S
        self._left += 1
        took_s = now_s - self._window_s
        if took_s >= WINDOW_S:
            self._most = max(LEAST, round(self._left / took_s * TARGET_S))
            self._window_s, self._left = now_s, 0

    def _longest_wait_s(self, now_s: float) -> float:
        for since_s in self._since_s.values():
            return now_s - since_s
        return 0.0
