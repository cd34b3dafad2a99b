"""How calls are repeated and how long they may take, as saga.yaml says it."""

from typing import Annotated

from sagagen.contract.known_keys import Shape, Whole, Word, optional
from sagagen.contract.words import GRPC_CODES, Duration, Factor, whole, words


class RetryShape(Shape):
    """Capped exponential backoff with full jitter."""

    initial: Duration | None = optional(
        "Longest wait before the second attempt. Default: 50ms for steps, 100ms for compensations.",
        example="50ms",
    )
    multiplier: Factor | None = optional("The factor by which the longest wait grows with each attempt.", 2)
    max: Duration | None = optional(
        "The wait never exceeds this. Default: 2s for steps, 30s for compensations.", example="2s"
    )
    max_attempts: Annotated[Whole, whole(1, 1000)] | None = optional(
        "Fail after this many attempts. By default a step is retried until the saga's deadline.", example=5
    )
    give_up_after: Duration | None = optional(
        "For compensations, pivots and retriable steps: how long after the first failure the saga is STUCK. "
        "Default: 24h; of a pivot, what defaults.compensation says.",
        example="24h",
    )
    codes: list[Annotated[Word, words(*GRPC_CODES)]] | None = optional(
        "Retry only these gRPC codes.", example=["UNAVAILABLE", "DEADLINE_EXCEEDED"]
    )


class PolicyShape(Shape):
    """How long a call may take, and how it is repeated."""

    timeout: Duration | None = optional(
        "Longest time of one attempt. Default: 2s for steps, 5s for compensations.", example="2s"
    )
    retry: RetryShape | None = optional("How it is repeated.")
