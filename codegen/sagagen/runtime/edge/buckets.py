"""How many requests each of many callers may send: each has a bucket of tokens, in bounded memory. Pure.

Theory of operation. A bucket holds `burst` tokens, a request takes one, and `rate_per_s` come back. All that has to be
kept of a bucket is when it will be full again (GCRA, ITU-T I.371): it is empty when that is `burst / rate_per_s` ahead.
A bucket that is full is that of a caller who never came, so it is forgotten. Buckets lie in the order in which tokens
were taken last, and whoever takes one looks at the two that lie longest: so they go faster than they come.
"""

from collections import OrderedDict

MAX_BUCKETS = 100_000
"""Buckets that are not full, beyond which the one that was used least lately is forgotten: some 20 MB."""
_LOOKED_AT = 2
_CLOSE_S = 1e-6
"""What sums of fractions may be off by."""


class TokenBuckets:
    """A bucket for each name. O(1) each time; `now_s` is the monotonic clock's time, in seconds."""

    def __init__(self, rate_per_s: float, burst: int, max_buckets: int = MAX_BUCKETS) -> None:
        """`rate_per_s` tokens come back each second, above 0. `burst` is what a bucket holds, from 1."""
        self._token_s = 1 / rate_per_s
        self._empty_s = burst / rate_per_s
        self._max_buckets = max_buckets
        self._full_at_s: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Buckets that are remembered."""
        return len(self._full_at_s)

    def take(self, name: str, now_s: float) -> float:
        """Take a token. 0 if there was one; otherwise nothing is taken, and it is there in so many seconds."""
        wait_s = self.wait_s(name, now_s)
        if not wait_s:
            self._full_at_s[name] = max(now_s, self._full_at_s.get(name, now_s)) + self._token_s
            self._full_at_s.move_to_end(name)
            self._forget(now_s)
        return wait_s

    def wait_s(self, name: str, now_s: float) -> float:
        """Seconds until there is a token; 0 if there is one. Takes none."""
        full_at_s = self._full_at_s.get(name)
        if full_at_s is None:
            return 0.0
        wait_s = full_at_s + self._token_s - now_s - self._empty_s
        return wait_s if wait_s > _CLOSE_S else 0.0

    def _forget(self, now_s: float) -> None:
        for _ in range(_LOOKED_AT):
            name = next(iter(self._full_at_s), None)
            if name is None or (self._full_at_s[name] > now_s and len(self._full_at_s) <= self._max_buckets):
                return
            del self._full_at_s[name]
