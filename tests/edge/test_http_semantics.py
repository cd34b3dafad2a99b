"""What RFC 9110 to 9112, the Fetch standard and W3C's trace context ask of the edge, on the running library."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from edge_library import Served, served
from kept_spans import KeptSpans
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sagagen.runtime.edge.http.connections import Peers
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.spans import Spans

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGE = "https://shop.example"
CORS = Middleware(
    CORSMiddleware, allow_origins=[PAGE], allow_methods=["POST"], allow_headers=["content-type"]
)
BOOK = '{"title":"t"}'


async def unauthorized(_request: Request) -> Response:
    return PlainTextResponse("hello")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    folder = tmp_path_factory.mktemp("semantics")
    async with served(folder, [Route("/hello", unauthorized)], middleware=[CORS]) as running:
        yield running


async def create(library: Served, content: str | bytes = BOOK, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await library.client.post("/v1/shelves/1/books", content=content, headers=named)


def reason(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.json()["reason"]


# -- content ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "Application/JSON ; charset=utf-8", "application/x+json"]
)
async def test_json_is_read(library: Served, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content_type": content_type}
    assert (await create(library, **headers)).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/jsonp", "application/xml", "json", "*/*", "", "application/json+x", "text/plain, application/json"],
)  # fmt: skip
async def test_what_is_not_json_is_415(library: Served, content_type: str) -> None:
    """RFC 9110, 15.5.16. A page may send to any origin what an HTML form can (Fetch, CORS-safelisted)."""
    answer = await create(library, content_type=content_type)
    assert (answer.status_code, reason(answer)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.headers["accept-post"] == "application/json"


@pytest.mark.parametrize("coding", ["identity", "Identity", "IDENTITY", "identity, Identity"])
async def test_codings_are_named_without_regard_to_case(library: Served, coding: str) -> None:
    """RFC 9110, 8.4.1: all content codings are case-insensitive."""
    assert (await create(library, content_encoding=coding)).status_code == 200


@pytest.mark.parametrize("coding", ["gzip", "identity, gzip", "br", "x"])
async def test_a_coding_that_is_not_read_is_415_and_says_what_is(library: Served, coding: str) -> None:
    """RFC 9110, 15.5.16 and 12.5.3: Accept-Encoding tells that no coding is accepted."""
    answer = await create(library, content_encoding=coding)
    assert (answer.status_code, reason(answer)) == (415, "UNSUPPORTED_ENCODING")
    assert answer.headers["accept-encoding"] == "identity"


# -- pages of other sites --------------------------------------------------------------------------------------------

CROSS = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}


@pytest.mark.parametrize(
    "headers",
    [
        CROSS,
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {**CROSS, "origin": PAGE},
    ],
)
async def test_a_page_of_another_site_writes_nothing_without_asking(
    library: Served, headers: Mapping[str, str]
) -> None:
    """Without a content type no preflight is made for it: the browser sends it, whoever allows what."""
    answer = await library.client.post("/v1/shelves/1/books", content=BOOK, headers=headers)
    assert (answer.status_code, reason(answer)) == (403, "CROSS_SITE")


@pytest.mark.parametrize(
    "headers",
    [
        {**CROSS, "content-type": "application/json"},
        {**CROSS, "idempotency-key": "k"},
        {**CROSS, "authorization": "Bearer x"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {},
    ],
)
async def test_what_a_browser_has_asked_for_is_taken(library: Served, headers: Mapping[str, str]) -> None:
    answer = await library.client.post("/v1/shelves/1/books", content=BOOK, headers=headers)
    assert answer.status_code == 200, answer.text


async def test_the_same_origin_is_known_without_fetch_metadata(library: Served) -> None:
    origin = str(library.client.base_url).rstrip("/")
    assert (await create(library, origin=origin)).status_code == 200


async def test_a_page_of_another_site_reads_what_cors_lets_it(library: Served) -> None:
    answer = await library.client.get("/v1/shelves/1/books/2", headers={**CROSS, "origin": PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)


# -- refusals go through the project's middleware ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "path", "content", "headers"),
    [
        (413, "/v1/shelves/1/books", b" " * 2_000_000, {}),
        (414, "/v1/shelves/1/books?" + "x" * 9000, b"", {}),
        (431, "/v1/shelves/1/books", b"", {"x-long": "x" * 40_000}),
        (415, "/v1/shelves/1/books", b"x", {"content-encoding": "gzip", "content-type": "application/json"}),
        (404, "/nothing", b"", {}),
    ],
)
async def test_a_page_may_read_why_it_was_refused(
    library: Served, status: int, path: str, content: bytes, headers: Mapping[str, str]
) -> None:
    answer = await library.client.post(path, content=content, headers={"origin": PAGE, **headers})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.json()["trace_id"] in answer.headers["traceparent"]


async def test_a_refused_body_without_a_length_may_be_read_about_too(library: Served) -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        for _ in range(30):
            yield b" " * 100_000

    headers = {"origin": PAGE, "content-type": "application/json"}
    answer = await library.client.post("/v1/shelves/1/books", content=chunks(), headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (413, PAGE)


# -- Host ------------------------------------------------------------------------------------------------------------


async def raw(library: Served, head: str, *, count: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
    """So many answers to what is sent as it stands."""
    address = urlsplit(str(library.client.base_url))
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(head.encode("latin-1"))
        return [await answer_of(reader) for _ in range(count)]
    finally:
        writer.close()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    return int(lines[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


@pytest.mark.parametrize(
    "hosts",
    ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nHost: b\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: u@a\r\n",
     "Host: a:b\r\n", "Host: [::1\r\n", "Host: a, b\r\n", "Host: \xfc\r\n"],
)  # fmt: skip
async def test_a_request_has_one_host(library: Served, hosts: str) -> None:
    """RFC 9112, 3.2: 400 for a request that lacks Host, has several, or one with an invalid value."""
    ((status, _, body),) = await raw(library, f"GET /healthz HTTP/1.1\r\n{hosts}\r\n")
    assert (status, json.loads(body)["reason"]) == (400, "INVALID_HOST")


@pytest.mark.parametrize(
    "hosts", ["Host: a\r\n", "Host: a.example:80\r\n", "Host: [::1]:8080\r\n", "Host:\r\n", "Host: a_b~c%20:\r\n"]
)  # fmt: skip
async def test_a_host_of_any_allowed_form_is_taken(library: Served, hosts: str) -> None:
    ((status, _, _),) = await raw(library, f"GET /healthz HTTP/1.1\r\n{hosts}\r\n")
    assert status == 200


async def test_an_older_client_needs_no_host(library: Served) -> None:
    ((status, _, _),) = await raw(library, "GET /healthz HTTP/1.0\r\n\r\n")
    assert status == 200


# -- what an answer says ---------------------------------------------------------------------------------------------


async def test_a_failed_request_leaves_its_connection_to_the_next(
    library: Served, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """RFC 9112, 9.6: a server that closes says so. This one has no reason to close; its log has the trace."""
    failing = "GET /v1/shelves/1/books/2 HTTP/1.1\r\nHost: a\r\nX-Caller: broken\r\n\r\n"
    failed, after = await raw(library, failing + "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", count=2)
    assert (failed[0], after[0]) == (500, 200)
    assert "connection" not in failed[1]
    said = caplog.text + capsys.readouterr().out
    assert json.loads(failed[2])["trace_id"] in said
    assert "the hook is broken" in said


async def test_a_401_has_a_challenge_whoever_made_it(library: Served) -> None:
    """RFC 9110, 15.5.2: a server that answers 401 must send at least one challenge."""
    for name in ("nobody", "nameless"):
        answer = await library.client.get("/v1/shelves/1/books/2", headers={"x-caller": name})
        assert (answer.status_code, reason(answer)) == (401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"].startswith("Bearer")


# -- a client's place in a trace ---------------------------------------------------------------------------------------

SENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_a_strangers_trace_is_a_link_and_a_proxys_the_parent(tmp_path: Path, is_trusted: bool) -> None:
    """As OpenTelemetry's instrumentations do it for a public endpoint."""
    kept = KeptSpans()
    peers = Peers() if is_trusted else Peers(trusted=())
    with tracing.recording(Spans(kept.on_end, ALWAYS_ON)):
        async with served(tmp_path, peers=peers) as library:
            answer = await library.client.get("/v1/shelves/1/books/2", headers={"traceparent": SENT})
    (span,) = [span for span in kept.spans if span.service == tracing.GATEWAY]
    assert answer.headers["traceparent"].split("-")[1] == span.trace.trace_id
    links = [(link.trace_id, link.span_id) for link in span.links]
    if is_trusted:
        assert (span.trace.trace_id, span.parent_id, links) == (SENT[3:35], SENT[36:52], [])
    else:
        assert span.trace.trace_id != SENT[3:35]
        assert (span.parent_id, links) == ("", [(SENT[3:35], SENT[36:52])])


@pytest.mark.parametrize(("is_trusted", "flags"), [(True, "01"), (False, "00")])
async def test_a_stranger_does_not_decide_what_is_kept(tmp_path: Path, is_trusted: bool, flags: str) -> None:
    kept = KeptSpans()
    sampler: Any = ParentBased(TraceIdRatioBased(0.0))
    with tracing.recording(Spans(kept.on_end, sampler)):
        async with served(tmp_path, peers=Peers() if is_trusted else Peers(trusted=())) as library:
            answer = await library.client.get("/v1/shelves/1/books/2", headers={"traceparent": SENT})
    assert answer.headers["traceparent"].endswith(flags)
    assert bool(kept.spans) is is_trusted
