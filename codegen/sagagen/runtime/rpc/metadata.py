"""The gRPC metadata of a saga's call: what the barrier of the called service decides from."""

from collections.abc import Mapping
from typing import NamedTuple

from sagagen.runtime.model.definition import Direction, StepKind, direction_of, kind_of

IDEMPOTENCY_KEY = "idempotency-key"
SAGA_ID = "sagagen-saga-id"
RUN = "sagagen-run"
STARTED = "sagagen-started"
STEP = "sagagen-step"
KIND = "sagagen-kind"
DIRECTION = "sagagen-direction"
ATTEMPT = "sagagen-attempt"
NOT_AFTER = "sagagen-not-after"
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
REPLAYED = "sagagen-replayed"
"""Trailing metadata: `true` when the answer is a recorded one."""


class SagaCall(NamedTuple):
    """One attempt of a step's action or compensation."""

    saga_id: str
    run: str
    """16 hex digits: 64 random bits of the acceptance."""
    started_ms: int
    """Engine's wall clock at acceptance, ms since the epoch."""
    step: str
    kind: StepKind
    direction: Direction
    attempt: int
    """Starts at 1."""
    not_after_ms: int
    """Wall clock, ms: after it the service must not begin this call any more."""

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt and every restart: fit to be handed to a third party."""
        return f"{self.saga_id}/{self.step}/{self.direction}"

    def to_metadata(self) -> dict[str, str]:
        return {
            IDEMPOTENCY_KEY: self.idempotency_key,
            SAGA_ID: self.saga_id,
            RUN: self.run,
            STARTED: str(self.started_ms),
            STEP: self.step,
            KIND: str(self.kind),
            DIRECTION: str(self.direction),
            ATTEMPT: str(self.attempt),
            NOT_AFTER: str(self.not_after_ms),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "SagaCall | None":
        """None if this is no saga's call. Raises ValueError naming the entry that is missing or broken in one."""
        if SAGA_ID not in metadata:
            return None
        try:
            return cls(
                saga_id=metadata[SAGA_ID],
                run=metadata[RUN],
                started_ms=int(metadata[STARTED]),
                step=metadata[STEP],
                kind=kind_of(metadata[KIND]),
                direction=direction_of(metadata[DIRECTION]),
                attempt=int(metadata[ATTEMPT]),
                not_after_ms=int(metadata[NOT_AFTER]),
            )
        except KeyError as missing:
            raise ValueError(f"a saga's call needs the metadata entry {missing.args[0]}") from missing
