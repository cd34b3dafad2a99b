"""How many requests a caller may send: decided once it is known who calls, and before the request's body is read.

A caller has a bucket by its id. Who is anonymous has one by its address, as connections are counted: of IPv6 a /64
network is one. An address from which authentications fail has another, so that guessing is slow, and costs others
little: a request from there is refused before anything is looked at. docs/decisions/215-limits-of-a-caller.md
"""

import time
from collections.abc import Callable

from starlette.types import Scope

from sagagen.runtime.edge.buckets import TokenBuckets
from sagagen.runtime.edge.client import client_of
from sagagen.runtime.edge.http.connections import counted_as
from sagagen.runtime.edge.problem import Problem, ProblemError, retry_after
from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.telemetry.metrics import REFUSED, child

RATE_LIMITED = "RATE_LIMITED"


class CallerRates:
    """Implements `entry.Pace`, for one gateway: two take twice as many."""

    def __init__(self, rate_per_s: float, burst: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._callers = TokenBuckets(rate_per_s, burst)
        self._addresses = TokenBuckets(rate_per_s, burst)
        self._failures = TokenBuckets(rate_per_s, burst)
        self._clock_s = clock_s
        self._refused_caller = child(REFUSED, "caller_rate")
        self._refused_address = child(REFUSED, "address_rate")
        self._refused_guesses = child(REFUSED, "failed_authentications")

    def check_guesses(self, scope: Scope) -> None:
        """Before it is looked at who calls. Raises ProblemError (429) while too many have failed from this address."""
        if wait_s := self._failures.wait_s(_address(scope), self._clock_s()):
            self._refused_guesses.inc()
            raise _refused("what requests from this address have shown was too often not believed", wait_s)

    def count_guess(self, scope: Scope) -> None:
        """What a request from this address has shown is not believed."""
        self._failures.take(_address(scope), self._clock_s())

    def count(self, scope: Scope, caller: str) -> None:
        """A request of this caller, who is known, or anonymous. Raises ProblemError (429) for one too many."""
        if caller in ("", ANONYMOUS):
            if wait_s := self._addresses.take(_address(scope), self._clock_s()):
                self._refused_address.inc()
                raise _refused("this address sends more requests than it may", wait_s)
        elif wait_s := self._callers.take(caller, self._clock_s()):
            self._refused_caller.inc()
            raise _refused("you send more requests than you may", wait_s)


def _address(scope: Scope) -> str:
    return counted_as(client_of(scope).address)


def _refused(detail: str, wait_s: float) -> ProblemError:
    again = "nothing of this request was done: send it again, with the same key, after Retry-After"
    return ProblemError(
        Problem(429, "RESOURCE_EXHAUSTED", RATE_LIMITED, f"{detail}; {again}", headers=(retry_after(wait_s),))
    )
