"""The journal of sagas on Restate: each saga writes to the workflow that drives it."""

import asyncio
from collections.abc import Sequence

from sagagen.runtime.clock import sleep_unless_woken
from sagagen.runtime.restate.workflow import SagaWorkflow
from sagagen.runtime.saga.events import LogEvent, SagaStatus
from sagagen.runtime.saga.journal import UNCHANGED


class RestateJournal:
    """Implements `Journal[SagaWorkflow]`. Where nothing can be written any more, an append ends the attempt."""

    async def append(
        self,
        ref: SagaWorkflow,
        rows: Sequence[LogEvent],
        status: SagaStatus | None,
        wake_ms: int | None = UNCHANGED,
        at_steps: str = "",
    ) -> None:
        await ref.append(rows, wake_ms, at_steps)

    async def append_later(self, ref: SagaWorkflow, rows: Sequence[LogEvent]) -> None:
        ref.append_later(rows)

    async def rest(self, seconds: float, wake: asyncio.Event) -> None:
        await sleep_unless_woken(seconds, wake)
