"""Requests that are not whole when the server stops: each gets an answer, and none a traceback."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from waiting import eventually_async

from sagagen.runtime.edge.http.server import serve_http
from sagagen.runtime.telemetry.logs import configure_logs

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
HALF = [
    HEAD + b"Content-Length: 500\r\n\r\n{",
    HEAD + b"Content-Length: 500\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
]


arrived: list[Scope] = []


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    arrived.append(scope)
    await Response(await Request(scope, receive).body())(scope, receive, send)


async def half_sent(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_what_is_half_sent_is_told_to_be_sent_again(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "gateway")
    async with serve_http(echo, "127.0.0.1", 0, stop_s=1) as server:
        asked = [asyncio.create_task(half_sent(server.port, sent)) for sent in HALF * 10]
        whole = HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
        assert (await half_sent(server.port, whole)).endswith(b"{}")
        await eventually_async("all heads to be read", lambda: len(arrived) > len(asked))
    answers = await asyncio.gather(*asked)
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 503"] * len(HALF) * 10
    assert all(b"nothing was accepted" in answer and b"retry-after: 1" in answer for answer in answers)
    assert "Traceback" not in capfd.readouterr().err
