"""How long a connection may live whose peer has shown a certificate.

A certificate is looked at once, when a connection is made. So that a CA that is believed no longer, or a caller that
may call no longer, has its connections for minutes at most, none lives on for long; and none outlives its peer's
certificate. Clients renew theirs sooner (RENEW_S in `renewing.py`), so nobody who behaves loses a call by it.
"""

import asyncio
import time
from collections.abc import Callable

from sagagen.runtime.trust.spiffe import Peer

MAX_AGE_S = 600.0
"""Age in seconds at which a connection ends as soon as it is idle."""
BUSY_S = 30.0
"""How long, in seconds, calls that are under way then have to end."""
EVERY_S = 60.0
"""Time in seconds between two looks at the clock: it may be put forward, or the machine have slept."""
_LOOK_S = 0.25


def wall_s() -> float:
    """Seconds since the epoch, as certificates count."""
    return time.time()


class Tenure:
    """Of one connection; counts from now."""

    def __init__(
        self, peer: Peer, *, is_idle: Callable[[], bool], refuse: Callable[[], None], end: Callable[[], None]
    ) -> None:
        """`refuse`: new calls, from now on. `end`: the connection."""
        self._peer = peer
        self._is_idle, self._refuse, self._end = is_idle, refuse, end
        self._over_at_s = time.monotonic() + MAX_AGE_S
        self._has_expired = False
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, seconds: float | None = None) -> None:
        if seconds is None:
            seconds = min(self._over_at_s - time.monotonic(), self._peer.expires_s - wall_s(), EVERY_S)
        self._timer = asyncio.get_running_loop().call_later(max(_LOOK_S, seconds), self._look)

    def _look(self) -> None:
        has_expired = wall_s() >= self._peer.expires_s
        late_s = time.monotonic() - self._over_at_s
        if not has_expired and late_s < 0:
            self._wait()
            return
        if has_expired and not self._has_expired:
            self._has_expired = True
            self._over_at_s, late_s = min(self._over_at_s, time.monotonic()), max(0.0, late_s)
            self._refuse()
        if self._is_idle() or late_s >= BUSY_S:
            self._end()
        else:
            self._wait(_LOOK_S)
