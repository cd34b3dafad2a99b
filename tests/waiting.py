"""Waiting for what another process, thread or task does: for a condition, never for a number of seconds."""

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

T = TypeVar("T")
Failures = tuple[type[Exception], ...]

LIMIT_S = 180.0
"""How long anything may take before a test gives up, in seconds. It is for what hangs: a machine with six times as many
busy processes as cores needs a minute for what takes a second or two on a quiet one."""


def eventually(
    what: str,
    look: Callable[[], T],
    is_so: Callable[[T], object] = bool,
    *,
    despite: Failures = (),
    every_s: float = 0.05,
) -> T:
    """Look until it is so. Returns what was seen then.

    `what` completes "waited for ...". An exception of `despite` means "not yet".
    Raises AssertionError after LIMIT_S, with what was seen last.
    """
    wait = _Wait(what)
    while True:
        try:
            if is_so(seen := look()):
                return seen
        except despite as error:
            seen = error
        wait.goes_on(seen)
        time.sleep(every_s)


async def eventually_async(
    what: str,
    look: Callable[[], T | Awaitable[T]],
    is_so: Callable[[T], object] = bool,
    *,
    despite: Failures = (),
    every_s: float = 0.01,
) -> T:
    """The same in an event loop, which goes on meanwhile. `look` may be a coroutine function."""
    wait = _Wait(what)
    while True:
        try:
            looked = look()
            seen = cast(T, await looked if inspect.isawaitable(looked) else looked)
            if is_so(seen):
                return seen
        except despite as error:
            seen = error
        wait.goes_on(seen)
        await asyncio.sleep(every_s)


def under_load(seconds: float) -> float:
    """What takes so long on a quiet machine, at the load that this one has had for a minute. In seconds."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@dataclass
class _Wait:
    what: str
    _ends_at: float = field(default_factory=lambda: time.monotonic() + LIMIT_S)

    def goes_on(self, seen: object) -> None:
        assert time.monotonic() < self._ends_at, f"waited {LIMIT_S:.0f} s for {self.what}; saw last: {seen!r}"
