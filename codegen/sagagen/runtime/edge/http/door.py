"""Overload is refused at the door: before a request is read, routed or given a task.

A refusal has to be cheap. At five times what can be worked off, four requests in five are refused; where each of them
costs a tenth of a saga, little more than half is left for those that are accepted.
"""

import asyncio
from collections.abc import Callable

from sagagen.runtime.edge.http.headers import LINES
from sagagen.runtime.edge.problem import Problem, phrase, retry_after
from sagagen.runtime.telemetry.metrics import TURNED_AWAY, child

_SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})
"""RFC 9110, section 9.2.1: they begin nothing, and tell how things stand."""
AMPLE = 64
"""As long as there is more room than that, who is on the way is not counted: it would cost each request, for nothing.
What comes in beside it is refused by the engine."""


class Door:
    """Lets writes in as long as there is room for what they begin."""

    def __init__(self, room: Callable[[], int]) -> None:
        """`room`: how many more may come in now, apart from those that are on their way from here."""
        self._room = room
        self._coming = 0
        """Requests that were let in and have not had their first turn: whoever counts `room` does not know them."""
        self._is_counting = False
        self._refusal = _refusal()
        self._turned_away = child(TURNED_AWAY)

    def is_shut_for(self, method: bytes) -> bool:
        if method in _SAFE:
            return False
        room = self._room()
        self._is_counting = room < AMPLE
        return room <= self._coming

    def let_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call it after the request's task was made: by the time that `_came` runs, the task has run."""
        if self._is_counting:
            self._coming += 1
            loop.call_soon(self._came)

    def _came(self) -> None:
        self._coming -= 1

    def refuse(self) -> bytes:
        """The whole answer: the same for everyone."""
        self._turned_away.inc()
        return self._refusal


def _refusal() -> bytes:
    detail = (
        "nothing was accepted: requests that were accepted before still wait for their turn; "
        "send the same request with the same key again"
    )
    problem = Problem(503, "UNAVAILABLE", "NOT_ACCEPTED", detail)
    body = problem.body()
    name, value = retry_after()
    lines = [
        f"HTTP/1.1 503 {phrase(503)}",
        "content-type: application/problem+json",
        *LINES,
        f"{name}: {value}",
        f"content-length: {len(body)}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode("ascii") + body
