"""Our encoder writes what the exporters' own writes, for any span."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.telemetry.otlp import SpanEncoder
from sagagen.runtime.telemetry.spans import FinishedSpan, SpanEvent, readable

RESOURCES = {
    name: Resource({"service.name": name, "service.instance.id": "1"}, "https://schema")
    for name in ("order", "gateway")
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TIMES = st.integers(0, 2**63)
TRACES = st.builds(
    TraceContext,
    st.integers(1, 2**128 - 1).map("{:032x}".format),
    st.integers(1, 2**64 - 1).map("{:016x}".format),
    st.sampled_from([0, 1, 255]),
    st.sampled_from(["", "a=1", "vendor=x:y,other=z", "not a state", "a=1,,b=2"]),
)
ATTRIBUTES = st.dictionaries(
    st.text(min_size=1, max_size=10),
    st.one_of(TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1)),
    max_size=5,
)
SPANS = st.builds(
    FinishedSpan,
    service=st.sampled_from(sorted(RESOURCES)),
    name=TEXT,
    kind=st.sampled_from([SpanKind.CLIENT, SpanKind.SERVER, SpanKind.INTERNAL]),
    trace=TRACES,
    parent_id=st.one_of(st.just(""), st.integers(1, 2**64 - 1).map("{:016x}".format)),
    begun_ns=TIMES,
    ended_ns=TIMES,
    attributes=ATTRIBUTES,
    events=st.lists(st.builds(SpanEvent, TEXT, TIMES, ATTRIBUTES), max_size=2),
    links=st.lists(TRACES, max_size=2),
    error=TEXT,
)


def in_their_terms(spans: Sequence[FinishedSpan]) -> list[ReadableSpan]:
    return [readable(span, RESOURCES[span.service]) for span in spans]


@given(st.lists(SPANS, max_size=4))
def test_spans_are_encoded_as_the_exporters_do(spans: list[FinishedSpan]) -> None:
    assert SpanEncoder(RESOURCES).encode(spans) == encode_spans(in_their_terms(spans))


def test_the_encoder_tries_itself_on_a_span_at_start() -> None:
    assert SpanEncoder(RESOURCES).is_as_theirs()


def test_one_and_true_are_not_the_same() -> None:
    spans = [
        FinishedSpan(
            service="order",
            name="n",
            kind=SpanKind.CLIENT,
            trace=TraceContext.new(),
            parent_id="",
            begun_ns=1,
            ended_ns=2,
            attributes={"key": value},
        )
        for value in (1, True, "1")
    ]
    encoded = SpanEncoder(RESOURCES).encode(spans).resource_spans[0].scope_spans[0].spans
    assert [span.attributes[0].value.WhichOneof("value") for span in encoded] == [
        "int_value",
        "bool_value",
        "string_value",
    ]


def test_a_handlers_own_spans_are_exported_beside_ours() -> None:
    (ours,) = [FinishedSpan.nothing()]
    own = readable(ours, Resource({"service.name": "a handler's"}))
    request = SpanEncoder({"": RESOURCES["order"]}).encode([own, ours, own])
    names = [one.resource.attributes[0].value.string_value for one in request.resource_spans]
    assert (names[0], [len(one.scope_spans[0].spans) for one in request.resource_spans]) == (
        "a handler's",
        [2, 1],
    )
