"""From an order to its log row, to its trace, to the whole tree of spans; from a log line and from a metric as well."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import httpx
import pytest
from otlp_receiver import Received, Span, grpc_receiver, http_receiver
from shop_invariants import await_terminal
from stack import Stack, place_order, post_order
from thorough import chosen
from waiting import eventually, under_load

pytestmark = pytest.mark.slow
CLIENT, SERVER = 3, 2
UNSET, ERROR = 0, 2
RECEIVERS: dict[str, Callable[[], AbstractContextManager[Received]]] = {
    "http/protobuf": http_receiver,
    "grpc": grpc_receiver,
}


@pytest.fixture(params=["http/protobuf", "grpc"])
def collector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    with RECEIVERS[request.param]() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", request.param)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "100")
        yield received


@pytest.fixture
def over_http(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    with http_receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "100")
        yield received


def log_rows(stack: Stack, saga_id: str) -> list[sqlite3.Row]:
    return stack.rows(
        "saga-log",
        "SELECT event.* FROM event JOIN saga ON saga.number = event.saga "
        f"WHERE saga_id = '{saga_id}' ORDER BY seq",
    )


def attempts(spans: list[Span]) -> list[tuple[str, str]]:
    return [
        (span.attributes["saga.step"], span.attributes["saga.direction"])
        for span in spans
        if span.kind == CLIENT and "saga.direction" in span.attributes
    ]


UNDONE = [
    ("create_order", "action"),
    ("reserve_stock", "action"),
    ("charge_payment", "action"),
    ("reserve_stock", "compensation"),
    ("create_order", "compensation"),
]


def assert_whole_tree(spans: list[Span], saga_id: str) -> None:
    """Each span but the root has its parent in the trace, and each level is what it should be."""
    (root,) = [span for span in spans if not span.parent_id]
    assert (root.name, root.kind, root.service) == ("POST /orders", SERVER, "gateway")
    assert root.attributes["saga.id"] == saga_id
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        if span is root:
            continue
        parent = by_id[span.parent_id]
        assert span.start_ns >= parent.start_ns
        if span.kind == SERVER:  # a service's: below the attempt that called it
            assert parent.kind == CLIENT
            assert parent.parent_id == root.span_id
            assert span.name == parent.name
            assert span.service == parent.attributes["server.address"]
        if "db.system.name" in span.attributes:
            assert parent.kind == SERVER
            assert parent.service == span.service
    assert len(spans) == 1 + 3 * len(attempts(spans))


@pytest.mark.parametrize(
    ("collector", "topology"),
    chosen([("http/protobuf", "mesh"), ("grpc", "up"), ("http/protobuf", "up"), ("grpc", "mesh")], first=2),
    indirect=["collector"],
)
def test_an_order_that_is_undone_is_one_tree_from_its_request_to_every_commit(
    stack: Stack, collector: Received, topology: str
) -> None:
    stack.start(topology)
    saga_id = place_order(stack, "undone", price=600.0)
    assert await_terminal(stack, [saga_id]) == {saga_id: "COMPENSATED"}
    rows = log_rows(stack, saga_id)
    (trace_id,) = {row["trace_id"] for row in rows}
    collector.until("16 spans of it", lambda got: len(got.trace(trace_id)) == 16)
    spans = collector.trace(trace_id)
    assert_whole_tree(spans, saga_id)
    assert attempts(spans) == UNDONE
    # Each attempt's row names its span.
    named = {row["span_id"] for row in rows if row["kind"] in ("DONE", "FAILED", "COMPENSATED")}
    assert named == {
        span.span_id for span in spans if "saga.direction" in span.attributes and span.kind == CLIENT
    }
    # A refusal is an answer: no span of it is an error.
    refused = [
        span for span in spans if span.attributes.get("rpc.response.status_code") == "FAILED_PRECONDITION"
    ]
    assert [(span.kind, span.status) for span in refused] == [(CLIENT, UNSET), (SERVER, UNSET)]
    assert refused[0].events == ("saga.refused",)
    stack.terminate(topology)


def test_the_senders_trace_goes_on_and_its_choice_to_drop_a_trace_is_kept(
    stack: Stack, over_http: Received
) -> None:
    stack.start("up")
    kept, dropped = "0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319c"
    parent = "b7ad6b7169203331"
    saga_ids = [
        place_order(
            stack, trace, headers={"traceparent": f"00-{trace}-{parent}-{flags}", "tracestate": "a=1"}
        )
        for trace, flags in ((dropped, "00"), (kept, "01"))
    ]
    await_terminal(stack, saga_ids)
    over_http.until("13 spans of the kept trace", lambda got: len(got.trace(kept)) == 13)
    (root,) = [span for span in over_http.trace(kept) if span.parent_id == parent]
    assert root.name == "POST /orders"
    assert over_http.trace(dropped) == []
    assert {row["trace_id"] for row in log_rows(stack, saga_ids[0])} == {dropped}


def test_a_sampler_that_keeps_nothing_exports_nothing(
    stack: Stack, over_http: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    stack.start("up")
    await_terminal(stack, [place_order(stack, "unseen")])
    stack.terminate("up")  # flushes
    over_http.until("the last line", lambda got: any("stopping" in line.body for line in got.lines))
    assert over_http.spans == []


async def test_a_saga_that_a_new_process_takes_up_stays_in_its_trace_with_a_link(
    stack: Stack, over_http: Received
) -> None:
    stack.start("up")
    with stack.holding_writes("payment"):
        saga_id = place_order(stack, "resumed")
        over_http.until(
            "the stock to be reserved", lambda got: ("reserve_stock", "action") in attempts(got.spans)
        )
        stack.kill("up")
    stack.start("up")
    assert await_terminal(stack, [saga_id]) == {saga_id: "COMPLETED"}
    rows = log_rows(stack, saga_id)
    (trace_id,) = {row["trace_id"] for row in rows}
    over_http.until(
        "the order to be confirmed", lambda got: ("confirm_order", "action") in attempts(got.trace(trace_id))
    )
    spans = over_http.trace(trace_id)
    (resumed,) = [span for span in spans if span.name == "resume place_order"]
    before = [row["span_id"] for row in rows if row["kind"] != "RESUMED"]
    assert resumed.links[0] in before
    assert resumed.span_id in {row["span_id"] for row in rows if row["kind"] == "RESUMED"}
    # What the killed process could not send is missing, and the log's rows name it.
    known = {row["span_id"] for row in rows}
    exported = {span.span_id for span in spans}
    missing = {span.parent_id for span in spans if span.parent_id and span.parent_id not in exported}
    assert missing <= known


def test_a_call_in_doubt_is_an_error_and_its_repeat_tells_that_it_is_one(
    stack: Stack, over_http: Received
) -> None:
    stack.start("inventory", "payment")
    stack.begin("gateway")
    eventually("the gateway", lambda: stack.http.get("/healthz").is_success, despite=(httpx.TransportError,))
    with ThreadPoolExecutor(1) as pool:
        # The order service is not there yet: the first attempts find nobody.
        late = pool.submit(post_order, stack, "late")
        over_http.until("an error", lambda got: any(span.status == ERROR for span in got.spans))
        stack.start("order")
        saga_id = place_order(stack, "late-2")
        assert late.result().is_success
    assert await_terminal(stack, [saga_id]) == {saga_id: "COMPLETED"}
    over_http.until("a repeat", lambda got: any("saga.retry" in span.events for span in got.spans))
    (first, *_) = [span for span in over_http.spans if span.status == ERROR]
    assert first.attributes["error.type"] == "UNAVAILABLE"
    assert "saga.in_doubt" in first.events


def test_a_log_line_and_an_exemplar_lead_to_the_trace(stack: Stack, over_http: Received) -> None:
    stack.start("up")
    saga_id = place_order(stack, "seen")
    await_terminal(stack, [saga_id])
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    text = stack.admin.get("/metrics", headers=accept).text
    line = next(
        line
        for line in text.splitlines()
        if line.startswith("sagagen_saga_duration_seconds_bucket") and " # {" in line
    )
    trace_id = re.search(r'trace_id="([0-9a-f]{32})"', line)
    assert trace_id
    over_http.until("13 spans of it", lambda got: len(got.trace(trace_id[1])) == 13)
    assert_whole_tree(over_http.trace(trace_id[1]), saga_id)
    assert "trace_id=" not in stack.admin.get("/metrics").text  # the older format has no exemplars


def test_without_a_collector_that_answers_there_is_one_line_of_it_and_a_quick_end(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    stack.start("up")
    await_terminal(stack, [place_order(stack, f"alone-{number}") for number in range(5)])
    exit_code, took_s = stack.terminate("up")
    assert exit_code == 0
    assert took_s < under_load(8)
    log = stack.log_path.read_text()
    assert "Traceback" not in log
    assert log.count("does not answer") <= 2  # one for spans, one for lines
