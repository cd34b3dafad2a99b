"""A page of another origin can neither read nor write; one of an origin that the contract names can, and reads refusals
as well. And what every answer says to browsers and caches."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from edge_library import Served, library, served
from playwright.async_api import async_playwright
from starlette.responses import HTMLResponse
from starlette.types import Receive, Scope, Send
from waiting import LIMIT_S

from sagagen.runtime.edge.caller_rates import CallerRates
from sagagen.runtime.edge.http.connections import Peers
from sagagen.runtime.edge.http.server import serve_http
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.model.security import ApiKeyScheme, Security
from sagagen.testing import as_nobody

PAGE, EVIL = "https://shop.example", "https://evil.example"
SHELF, BOOKS = "/v1/shelves/1/books/b", "/v1/shelves/1/books"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def open_to(*origins: str) -> Mesh:
    schemes = (ApiKeyScheme("partners", "X-Api-Key"),)
    return replace(library().mesh, security=Security(schemes, ("partners",), origins=origins))


@pytest_asyncio.fixture
async def edge(tmp_path: Path) -> AsyncGenerator[Served]:
    pace = CallerRates(rate_per_s=0.01, burst=8)
    async with served(tmp_path, mesh=open_to(PAGE), pace=pace) as running:
        yield running


def asking(origin: str, method: str = "POST") -> Mapping[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "content-type,idempotency-key,x-api-key",
        "sec-fetch-site": "cross-site",
    }


async def test_who_asks_first_is_told(edge: Served) -> None:
    told = await edge.client.options("/loans", headers=asking(PAGE))
    assert (told.status_code, told.content) == (204, b"")
    assert told.headers["access-control-allow-origin"] == PAGE
    assert {"POST", "GET", "DELETE"} <= set(told.headers["access-control-allow-methods"].split(", "))
    allowed = set(told.headers["access-control-allow-headers"].split(", "))
    assert {"idempotency-key", "authorization", "x-api-key", "content-type", "traceparent"} <= allowed
    assert int(told.headers["access-control-max-age"]) > 0
    assert told.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in told.headers
    for origin in (EVIL, "null", PAGE + ".evil.example", PAGE.upper(), "http://shop.example"):
        refused = await edge.client.options("/loans", headers=asking(origin))
        assert (refused.status_code, refused.json()["reason"]) == (403, "CROSS_SITE"), origin
        assert "access-control-allow-origin" not in refused.headers
        assert refused.headers["vary"] == "Origin"
    plain = await edge.client.options("/loans")
    assert (plain.status_code, "POST" in plain.headers["allow"]) == (204, True)


async def test_a_page_reads_every_answer_and_every_refusal(edge: Served) -> None:
    page = {"origin": PAGE, "sec-fetch-site": "cross-site"}
    big = b"x" * (2 * 1024 * 1024)
    book, client = {"name": "c"}, edge.client
    answers = [
        await client.get(SHELF, headers=page),
        await client.post(BOOKS, json=book, headers=page),
        await client.get(SHELF, headers={**page, **as_nobody()}),
        await client.get("/v1/nothing", headers=page),
        await client.post(BOOKS, content=big, headers={**page, "content-type": "application/json"}),
        await client.get("/v1/" + "x" * 9000, headers=page),
        await client.get(SHELF, headers={**page, "x-large": "x" * 40_000}),
        *[await client.get(SHELF, headers=page) for _ in range(12)],
    ]
    codes = [answer.status_code for answer in answers]
    assert (codes[:7], codes[-1]) == ([200, 200, 401, 404, 413, 414, 431], 429)
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "Origin" in answer.headers["vary"]
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"location", "retry-after", "traceparent"} <= set(exposed)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL, "sec-fetch-site": "cross-site"},
        {"origin": EVIL, "sec-fetch-site": "cross-site", "authorization": "Bearer x"},
        {"origin": EVIL, "sec-fetch-site": "same-site"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"origin": EVIL},
    ],
)
async def test_a_write_of_another_origin_is_refused_even_if_a_browser_sends_it(
    edge: Served, headers: Mapping[str, str]
) -> None:
    answer = await edge.client.post(BOOKS, json={"name": "d"}, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (403, "CROSS_SITE")
    assert "access-control-allow-origin" not in answer.headers
    read = await edge.client.get(SHELF, headers=headers)
    assert (read.status_code, "access-control-allow-origin" in read.headers) == (200, False)


async def test_what_is_no_page_of_another_origin_needs_no_leave(edge: Served) -> None:
    own = str(edge.client.base_url).rstrip("/")
    for headers in ({}, {"origin": own}, {"origin": own, "sec-fetch-site": "same-origin"}):
        answer = await edge.client.post(BOOKS, json={"name": "e"}, headers=headers)
        assert (answer.status_code, answer.headers["vary"]) == (200, "Origin")


CALLS = """
async ([url, shelf, key]) => {
  const headers = {"content-type": "application/json", "idempotency-key": key, "x-api-key": "k"};
  const body = JSON.stringify({name: "b", reader: "ann"});
  const told = {};
  try {
    const answer = await fetch(url + "/loans", {method: "POST", headers, body});
    told.written = [answer.status, answer.headers.get("link") !== null];
  } catch (error) { told.written = error.name; }
  try {
    told.read = (await fetch(url + shelf)).status;
  } catch (error) { told.read = error.name; }
  try {  // what a form can send is sent without asking
    await fetch(url + "/loans", {method: "POST", mode: "no-cors", body});
  } catch (error) { told.sent = error.name; }
  return told;
}
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed here")
async def test_a_browser_keeps_pages_apart(tmp_path: Path) -> None:
    async with (
        page_server() as ours,
        page_server() as theirs,
        served(tmp_path, mesh=open_to(ours)) as edge,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        url = str(edge.client.base_url).rstrip("/")
        told: dict[str, object] = {}
        for origin in (ours, theirs):
            page = await browser.new_page()
            page.set_default_timeout(1000 * LIMIT_S)
            await page.goto(origin)
            async with asyncio.timeout(LIMIT_S):
                told[origin] = await page.evaluate(CALLS, [url, SHELF, f"from {origin}"])
        await browser.close()
        sagas = (await edge.client.get("/sagas")).json()["sagas"]
    assert told[ours] == {"written": [201, True], "read": 200}
    assert told[theirs] == {"written": "TypeError", "read": "TypeError"}
    assert len(sagas) == 1, "only the page that may has begun something"


@asynccontextmanager
async def page_server() -> AsyncGenerator[str]:
    """The origin of a page."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await HTMLResponse("<!doctype html><title>a page</title>")(scope, receive, send)

    async with serve_http(app, "127.0.0.1", 0) as listening:
        yield listening.url


# what every answer says


async def test_no_answer_is_guessed_at_or_kept_or_says_what_serves_it(edge: Served) -> None:
    for path in (SHELF, "/sagas", "/nothing", "/openapi.json", "/healthz", "/v1/" + "x" * 9000):
        answer = await edge.client.get(path)
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"], path
        assert answer.headers.get_list("cache-control") == ["no-store"], path
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers, "that is for https alone"
    kept = await edge.client.get("/docs/start.js")
    assert kept.headers.get_list("cache-control") == ["public, max-age=31536000, immutable"]
    assert kept.headers.get_list("x-content-type-options") == ["nosniff"]


async def test_what_is_no_http_is_answered_with_them_too(edge: Served) -> None:
    host = edge.client.base_url
    reader, writer = await asyncio.open_connection(host.host, host.port)
    writer.write(b"HELO\r\n\r\n")
    async with asyncio.timeout(LIMIT_S):
        answer = (await reader.read()).decode()
    writer.close()
    assert "x-content-type-options: nosniff\r\ncache-control: no-store\r\n" in answer


async def test_https_is_what_a_trusted_proxy_says_and_nobody_else(edge: Served, tmp_path: Path) -> None:
    by_https = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.1"}
    answer = await edge.client.get(SHELF, headers=by_https)
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    async with served(tmp_path / "2", mesh=open_to(PAGE), peers=Peers(trusted=())) as stranger:
        answer = await stranger.client.get(SHELF, headers=by_https)
        assert "strict-transport-security" not in answer.headers
