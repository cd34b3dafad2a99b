"""The saga log of a world: the product's own, which tells what is durable in it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.saga.events import Accepted, Compensated, Done, Failed, LogEvent, SagaStatus
from sagagen.runtime.saga.journal import UNCHANGED
from sagagen.runtime.saga.logged import SagaRef
from sagagen.testing.faults import CallKey, Moment

if TYPE_CHECKING:
    from sagagen.testing.processes import GatewayProcess
    from sagagen.testing.world import World


class WatchedLog(SagaLog):
    """Reports each write to its world, before the engine learns that it is durable."""

    def attach(self, world: "World", gateway: "GatewayProcess") -> None:
        """To be called once it is open, and before an engine uses it."""
        self._world = world
        self._gateway = gateway

    async def accept(
        self, row: Accepted, index: Sequence[tuple[str, str | int]] = (), subject: str = ""
    ) -> SagaRef | None:
        """As SagaLog says."""
        ref = await super().accept(row, index, subject)
        if ref is not None:
            self._world.wrote(ref.number, row.saga_id, [row])
        return ref

    async def append(
        self,
        ref: SagaRef,
        rows: Sequence[LogEvent],
        status: SagaStatus | None,
        wake_ms: int | None = UNCHANGED,
        at_steps: str = "",
    ) -> None:
        """As SagaLog says."""
        await super().append(ref, rows, status, wake_ms, at_steps)
        saga_id = self._world.wrote(ref.number, "", rows)
        for row in rows:
            if key := _call_of(saga_id, row):
                await self._world.may_crash_here(self._gateway, Moment.RECORDED, key)

    async def append_later(self, ref: SagaRef, rows: Sequence[LogEvent]) -> None:
        """As SagaLog says."""
        await super().append_later(ref, rows)
        self._world.will_write(ref.number, rows)


def _call_of(saga_id: str, row: LogEvent) -> CallKey | None:
    """The call whose outcome the row is."""
    match row:
        case Done() if row.attempt:
            return CallKey(saga_id, row.step, Direction.ACTION, row.attempt)
        case Compensated():
            return CallKey(saga_id, row.step, Direction.COMPENSATION, row.attempt)
        case Failed() if row.event is None:
            return CallKey(saga_id, row.step, row.direction, row.attempt)
        case _:
            return None
