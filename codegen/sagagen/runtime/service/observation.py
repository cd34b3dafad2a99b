"""What every call that a service answers reports: how long it took, its span, and its place in the trace."""

import time
from collections.abc import Mapping
from contextvars import Token
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from grpclib.const import Status as Code
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.trace import TraceContext, received
from sagagen.runtime.service.barrier.calls import BarredCall
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.logs import log_within
from sagagen.runtime.telemetry.metrics import RPC_SERVER_SECONDS, child, exemplar
from sagagen.runtime.telemetry.spans import FinishedSpan, Spans

_FAULTS = frozenset(
    code.name
    for code in (
        *(Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED),
        *(Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS),
    )
)
"""Codes that are a server's error; the others, a refusal among them, are answers (semantic conventions of RPC)."""


class UnderWay(Protocol):
    """What draining waits for."""

    def about(self) -> dict[str, str]:
        """What a log line says of it."""
        ...


@dataclass(slots=True, eq=False)
class CallApart:
    """What outlives the rpc that began it."""

    service: str
    call: BarredCall

    def about(self) -> dict[str, str]:
        return {"service": self.service, **self.call.about()}


@dataclass(slots=True, eq=False)
class ObservedCall:
    """One call, from its arrival to its answer; use it as a context manager around the work."""

    service: str
    path: str
    """As in `/shop.order.v1.OrderService/CreateOrder`."""
    metadata: Mapping[str, str]
    saga: SagaCall | None = None
    """Once it is known to be whole: what anybody may have written reaches no log and no span."""
    parent: TraceContext | None = None
    """The caller's span; None if it sent none."""
    trace: TraceContext | None = None
    """This call's own span, once it has begun: the parent of what is done for it."""
    _begun_ns: int = 0
    _begun_s: float = 0.0
    _token: Token[Context] | None = None

    def __enter__(self) -> Self:
        self._begun_ns, self._begun_s = time.time_ns(), time.perf_counter()
        parent = self.parent = self.trace = received(self.metadata)
        # Where no spans are kept, what is done here hangs on the caller's span itself.
        if tracing.active() is not None and parent is not None and parent.is_sampled:
            self.trace = parent.child()
        log_within(self.about)
        self._token = otel_context.attach(tracing.in_context(self.trace) if self.trace else Context())
        return self

    def about(self) -> dict[str, str]:
        known = {"service": self.service, "rpc": self.path}
        if self.trace:
            known |= {"trace_id": self.trace.trace_id, "span_id": self.trace.span_id}
        if saga := self.saga:
            known |= {"saga_id": saga.saga_id, "step": saga.step, "attempt": str(saga.attempt)}
        return known

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token:
            otel_context.detach(self._token)
        took_s = time.perf_counter() - self._begun_s
        code = "OK" if error is None else _code(error).name
        histogram = child(RPC_SERVER_SECONDS, "grpc", self.path[1:], code)
        if self.trace is self.parent or self.trace is None or self.parent is None:
            histogram.observe(took_s)
            return
        histogram.observe(took_s, exemplar(self.trace))
        if spans := tracing.active():
            self._record(spans, self.trace, self.parent, code, took_s)

    def _record(
        self, spans: Spans, trace: TraceContext, parent: TraceContext, code: str, took_s: float
    ) -> None:
        of_saga: dict[str, str | int] = {}
        if saga := self.saga:
            of_saga = {"saga.id": saga.saga_id, "saga.step": saga.step, "saga.direction": str(saga.direction)}
            of_saga["saga.attempt"] = saga.attempt
        error = {"error.type": code} if code in _FAULTS else {}
        spans.record(
            FinishedSpan(
                service=self.service,
                name=self.path[1:],
                kind=SpanKind.SERVER,
                trace=trace,
                parent_id=parent.span_id,
                begun_ns=self._begun_ns,
                ended_ns=self._begun_ns + round(took_s * 1e9),
                attributes={
                    "rpc.system.name": "grpc",
                    "rpc.method": self.path[1:],
                    "rpc.response.status_code": code,
                    **of_saga,
                    **error,
                },
                error=code if error else "",
            )
        )


def _code(error: BaseException) -> Code:
    if isinstance(error, RpcError):
        return error.code
    return Code.INTERNAL if isinstance(error, Exception) else Code.CANCELLED
