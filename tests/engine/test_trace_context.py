"""W3C trace context, in and out."""

from random import Random

import pytest

from sagagen.runtime.rpc.trace import TraceContext, received

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_the_senders_trace_goes_on() -> None:
    headers = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00", "tracestate": "a=1,b=2"}
    trace = received(headers)
    assert trace == TraceContext(TRACE_ID, SPAN_ID, 0, "a=1,b=2")
    assert trace
    assert trace.to_metadata() == headers


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
    ],
)
def test_a_header_that_cannot_be_read_says_nothing(header: str) -> None:
    assert received({"traceparent": header, "tracestate": "a=1"}) is None


def test_a_new_trace_can_be_read_by_others() -> None:
    trace = TraceContext.new()
    assert received(trace.to_metadata()) == trace
    assert (trace.is_sampled, trace.state) == (True, "")


def test_each_attempt_is_a_span_of_the_same_trace() -> None:
    parent = TraceContext.new()
    child = parent.child(Random(1))
    assert (child.trace_id, child.flags) == (parent.trace_id, parent.flags)
    assert child.span_id != parent.span_id
    assert received(child.to_metadata()) == child
