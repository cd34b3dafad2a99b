"""What starts a saga, and what its caller is told."""

from dataclasses import dataclass
from typing import Self

from sagagen.runtime.engine.requests import built
from sagagen.runtime.log.store import SagaHead
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga.answer import Answer
from sagagen.runtime.saga.events import Accepted, SagaStatus
from sagagen.runtime.saga.history import History
from sagagen.runtime.scope import Scope


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A request that starts a saga."""

    saga: Saga
    saga_id: str
    caller: str
    key: str
    """The idempotency key, or what stands for it where there is none."""
    fingerprint: bytes
    """Of trigger and payload: what tells a replay from another request with the same key."""
    input: bytes
    """The trigger's request, encoded."""
    trace: TraceContext


@dataclass(frozen=True, slots=True)
class Started:
    """What `accept` found or made."""

    saga_id: str
    is_new: bool
    caller: str
    """Caller, fingerprint and trace id are those of the first acceptance."""
    fingerprint: bytes
    answer: Answer | None
    """The final answer, if there is one already."""
    trace_id: str
    started_ms: int
    """When it was first accepted."""
    status: SagaStatus

    @classmethod
    def of_history(cls, history: History, *, is_new: bool) -> Self:
        accepted = history.accepted
        return cls(
            saga_id=accepted.saga_id,
            is_new=is_new,
            caller=accepted.caller,
            fingerprint=accepted.fingerprint,
            answer=history.answer,
            trace_id=accepted.trace.trace_id,
            started_ms=accepted.at_ms,
            status=history.status,
        )

    @classmethod
    def of_head(cls, head: SagaHead) -> Self:
        return cls(
            saga_id=head.saga_id,
            is_new=False,
            caller=head.caller,
            fingerprint=head.fingerprint,
            answer=head.answer,
            trace_id=head.ref.trace_id,
            started_ms=head.started_ms,
            status=head.status,
        )


def accepted_row(acceptance: Acceptance, at_ms: int, run: str) -> Accepted:
    """The saga's first row: all that its later ones build on, with what its first step is sent."""
    saga, trace = acceptance.saga, acceptance.trace
    scope = Scope(acceptance.saga_id, saga.trigger.request, acceptance.input, {})
    return Accepted(
        at_ms=at_ms,
        span_id=trace.span_id,
        saga_id=acceptance.saga_id,
        saga=saga.name,
        version=saga.version,
        digest=saga.digest,
        run=run,
        caller=acceptance.caller,
        key=acceptance.key,
        fingerprint=acceptance.fingerprint,
        input=acceptance.input,
        trace=trace,
        next=built(saga.first_step, scope),
    )
