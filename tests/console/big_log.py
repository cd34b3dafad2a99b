"""A log with many sagas in every state, filled through its own port: what engines would have written."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from grpclib.const import Status as Code

from generated.sagas.place_order_v1 import PLACE_ORDER_V1
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga.events import (
    Accepted,
    Compensated,
    Done,
    Ended,
    Failed,
    LogEvent,
    NextRequest,
    Outcome,
    SagaStatus,
    Stuck,
    TurnedBack,
)
from sagagen.runtime.saga.journal import UNCHANGED
from sagagen.runtime.saga.logged import SagaRef
from sagagen.runtime.scope import Failure

STEPS = tuple(step.name for step in PLACE_ORDER_V1.calls)
CREATE, RESERVE, CHARGE, CONFIRM = STEPS
OUT_OF_STOCK = Failure("FAILED_PRECONDITION", "OUT_OF_STOCK", "none left", RESERVE)
DOWN = Failure("UNAVAILABLE", "STEP_UNAVAILABLE", "connection refused", CHARGE)
AT_ONCE = 500


class Fillable(Protocol):
    async def accept(self, row: Accepted) -> SagaRef | None: ...

    async def append(
        self,
        ref: SagaRef,
        rows: Sequence[LogEvent],
        status: SagaStatus | None,
        wake_ms: int | None = UNCHANGED,
        at_steps: str = "",
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class MadeUp:
    """What becomes of one saga in ten: six complete, one is turned back, one stuck, one waits, one fails."""

    number: int
    at_ms: int

    @property
    def accepted(self) -> Accepted:
        return Accepted(
            at_ms=self.at_ms,
            saga_id=f"{self.number:032x}",
            saga=PLACE_ORDER_V1.name,
            version=PLACE_ORDER_V1.version,
            digest=PLACE_ORDER_V1.digest,
            run=f"{self.number:032x}",
            caller="anonymous",
            key=f"key-{self.number}",
            fingerprint=b"f" * 32,
            input=b"",
            trace=TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"),
            next=NextRequest(b"n" * 60),
        )

    def _done(self, *names: str) -> Iterator[Done]:
        for position, name in enumerate(names, 1):
            follows = NextRequest() if name == CONFIRM else NextRequest(b"n" * 60)
            yield Done(
                at_ms=self.at_ms + 10 * position, step=name, attempt=1, response=b"r" * 20, next=follows
            )

    def _failed(self, failure: Failure, outcome: Outcome) -> Failed:
        code, reason = Code[failure.code], failure.reason if outcome is Outcome.REFUSED else ""
        return Failed(
            at_ms=self.at_ms + 60,
            step=failure.step,
            direction=Direction.ACTION,
            attempt=1,
            outcome=outcome,
            code=code,
            reason=reason,
        )

    @property
    def rows(self) -> tuple[list[LogEvent], SagaStatus]:
        later_ms = self.at_ms + 100
        match self.number % 10:
            case 0:
                back = TurnedBack(at_ms=later_ms, failure=OUT_OF_STOCK, outcome=Outcome.REFUSED)
                rows: list[LogEvent] = [
                    *self._done(CREATE),
                    self._failed(OUT_OF_STOCK, Outcome.REFUSED),
                    back,
                    Compensated(at_ms=later_ms + 7, step=CREATE, attempt=1),
                    Ended(at_ms=later_ms + 7, status=SagaStatus.COMPENSATED),
                ]
                return rows, SagaStatus.COMPENSATED
            case 1:
                stuck = Stuck(at_ms=later_ms, direction=Direction.ACTION, failure=DOWN)
                return [
                    *self._done(CREATE, RESERVE),
                    self._failed(DOWN, Outcome.DOUBT),
                    stuck,
                ], SagaStatus.STUCK
            case 2 | 3:
                return [*self._done(CREATE, RESERVE), self._failed(DOWN, Outcome.DOUBT)], SagaStatus.RUNNING
            case _:
                ended = Ended(at_ms=later_ms, status=SagaStatus.COMPLETED)
                return [*self._done(*STEPS), ended], SagaStatus.COMPLETED

    @property
    def is_parked(self) -> bool:
        return self.number % 10 == 2


async def fill(log: Fillable, count: int, *, over_ms: int = 3_000_000) -> int:
    """Accept `count` sagas within the last `over_ms` ms, and tell what became of each. Returns when the first was."""
    begin_ms = round(time.time() * 1000) - over_ms

    async def one(number: int) -> None:
        made_up = MadeUp(number, begin_ms + number * (over_ms - 10_000) // count)
        ref = await log.accept(made_up.accepted)
        assert ref is not None
        rows, status = made_up.rows
        wake_ms = made_up.at_ms + 86_400_000 if made_up.is_parked else UNCHANGED
        at_steps = CHARGE if made_up.is_parked or status is SagaStatus.STUCK else ""
        await log.append(ref, rows, status, wake_ms, at_steps)

    for beginning in range(0, count, AT_ONCE):
        await asyncio.gather(*(one(number) for number in range(beginning, min(count, beginning + AT_ONCE))))
    return begin_ms
