"""W3C trace context of a saga: taken from the request that started it, or new, and sent along with every call.

A header that is not of the plainest form is read by OpenTelemetry's own propagator; nothing here needs its SDK, so a
mesh without a collector pays for a few string operations and no more.
"""

import re
import secrets
from collections.abc import Mapping
from random import Random, SystemRandom
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sagagen.runtime.rpc.metadata import TRACEPARENT, TRACESTATE

SAMPLED = 1
_PROPAGATOR = TraceContextTextMapPropagator()
_PLAIN = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
"""A traceparent of today's version, as nearly every one is."""
_RANDOM = Random(SystemRandom().getrandbits(256))
"""Of spans' ids, which need not be secret: a question to the system for each would cost as much as the rest of it."""


class TraceContext(NamedTuple):
    """A place in a trace: the trace, and the span that is the parent of what comes next."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    flags: int = SAMPLED
    state: str = ""
    """`tracestate`, as received."""

    @property
    def is_sampled(self) -> bool:
        """Somebody keeps this trace."""
        return bool(self.flags & SAMPLED)

    def child(self, random: Random | None = None) -> "TraceContext":
        """The same trace, with a new span."""
        return self.at(_span_id(random or _RANDOM))

    def at(self, span_id: str) -> "TraceContext":
        """The same trace, at another span."""
        return TraceContext(self.trace_id, span_id, self.flags, self.state)

    def to_metadata(self) -> dict[str, str]:
        """`traceparent`, and `tracestate` if there is one."""
        entries = {TRACEPARENT: f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"}
        if self.state:
            entries[TRACESTATE] = self.state
        return entries

    @classmethod
    def new(cls) -> "TraceContext":
        """A trace that starts here."""
        return cls(format_trace_id(secrets.randbits(128) or 1), _span_id(_RANDOM))


def _span_id(random: Random) -> str:
    return f"{random.getrandbits(64) or 1:016x}"


def received(headers: Mapping[str, str]) -> TraceContext | None:
    """The sender's place in its trace; None if it sent none, or none that can be read. Names are lower case."""
    if TRACEPARENT not in headers:
        return None
    if TRACESTATE not in headers and (plain := _PLAIN.fullmatch(headers[TRACEPARENT])):
        return TraceContext(plain[1], plain[2], int(plain[3], 16))
    span = get_current_span(_PROPAGATOR.extract(headers, Context())).get_span_context()
    if not span.is_valid:
        return None
    return TraceContext(
        format_trace_id(span.trace_id),
        format_span_id(span.span_id),
        int(span.trace_flags),
        span.trace_state.to_header(),
    )
