"""How long to wait before the next attempt."""

from random import Random

from sagagen.runtime.model.definition import Retry

MAX_RETRY_AFTER_S = 60.0
"""A service's RetryInfo is honoured up to this many seconds, so that a wrong one can't park a saga."""


def backoff_s(retry: Retry, failures: int, retry_after_s: float | None, random: Random) -> float:
    """Seconds to wait after the `failures`-th failure in a row (0: none yet, so no wait).

    Capped exponential backoff with full jitter: uniform(0, min(max_s, initial_s * multiplier ** (failures - 1))). What
    the service asked for (RetryInfo) is added: the jitter keeps those it turned away from coming back all at once.
    """
    if failures == 0:
        return 0.0
    asked_s = min(max(retry_after_s or 0.0, 0.0), MAX_RETRY_AFTER_S)
    return asked_s + random.uniform(0.0, ceiling_s(retry, failures))


def ceiling_s(retry: Retry, failures: int) -> float:
    """The longest that `backoff_s` draws, in seconds, without what the service asked for."""
    try:
        return min(retry.max_s, retry.initial_s * retry.multiplier ** (failures - 1))
    except OverflowError:  # a float ends at 1e308; after 1024 failures 2.0 ** n is beyond it
        return retry.max_s
