"""Answers that are kept for a moment, so that however often somebody asks, asking costs a small part of one processor.

An answer that took t is given again for t * TIMES: it is made during at most one part in TIMES of the time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

TIMES = 50
MOST = 64
"""Different questions whose answers are kept."""


class _Kept(NamedTuple):
    answer: Any
    until_s: float


class KeptAnswers:
    """For each question one answer; those who ask the same at once wait for one answer together."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = monotonic_s
        self._kept: dict[Hashable, _Kept] = {}
        self._asking: dict[Hashable, asyncio.Lock] = {}

    async def ask(self, question: Hashable, answer: Callable[[], Awaitable[tuple[T, float]]]) -> T:
        """`answer` returns the answer, and what it took in seconds."""
        async with self._asking.setdefault(question, asyncio.Lock()):
            kept = self._kept.get(question)
            if kept is not None and self._now_s() < kept.until_s:
                return kept.answer
            made, took_s = await answer()
            if len(self._kept) >= MOST:
                self._kept.clear()
                self._asking = {question: self._asking[question]}
            self._kept[question] = _Kept(made, self._now_s() + took_s * TIMES)
            return made
