"""The port between a saga's driver and what keeps its rows: `Journal`, and how it says that it can't.

A journal takes rows and gives none back: whoever drives a saga knows its history. How a saga is found again after a
restart is the engine's own business.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeVar

from sagagen.runtime.saga.events import LogEvent, SagaStatus

UNCHANGED = -1
"""`wake_ms` of rows after which a saga waits as before, or does not wait."""

Ref = TypeVar("Ref", contravariant=True)
"""What a journal knows a saga by. Only the journal looks into it."""


class JournalUnavailable(Exception):
    """Nothing can be written now, and nothing was. Try again after `retry_after_s`."""

    retry_after_s = 1.0
    """Seconds."""


class JournalUnreadable(Exception):
    """A saga's rows can't be read; the message says which and why. Nothing is guessed: the saga waits."""


class Journal(Protocol[Ref]):
    """What a SagaDriver writes to. One task writes the rows of a saga, one call after the other."""

    async def append(
        self,
        ref: Ref,
        rows: Sequence[LogEvent],
        status: SagaStatus | None,
        wake_ms: int | None = UNCHANGED,
        at_steps: str = "",
    ) -> None:
        """Add rows, all or none; they are durable when this returns, after all that was added before them.

        `status` is where the saga stands then; None: where it stood. `wake_ms` says when a saga that only waits has
        something to do again, ms since the epoch: until then it needs no process. None: it waits no more; 0: it goes
        on, though a step of it is stuck. `at_steps` are the names of the steps, with blanks between, that the saga is
        stuck at or waits at: metrics count by them. Raises JournalUnavailable: none of them is there.
        """
        ...

    async def append_later(self, ref: Ref, rows: Sequence[LogEvent]) -> None:
        """Add rows that need not be durable yet. They ride along with what is appended after them, or earlier.

        Raises JournalUnavailable: none of them is there, nor will be.
        """
        ...

    async def rest(self, seconds: float, wake: asyncio.Event) -> None:
        """Wait before an attempt, until `seconds` have passed or `wake` is set.

        A journal may make the wait durable, and end the process's part in the saga meanwhile.
        """
        ...
