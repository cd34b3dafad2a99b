"""The server itself: ports, limits, time-outs, and how it stops."""

import asyncio
import contextlib
import gc
import json
import socket
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from typing import cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from waiting import eventually_async, under_load

from sagagen.runtime import plain
from sagagen.runtime.edge.http.connections import Connections, Peers, is_within
from sagagen.runtime.edge.http.limits import DEFAULT_PATIENCE, Patience
from sagagen.runtime.edge.http.outgoing import Outgoing
from sagagen.runtime.edge.http.server import serve_http
from sagagen.runtime.startup import PortTaken

LOOPBACK = "127.0.0.1"


@pytest.fixture(params=["quick", "plain"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Our protocol, or uvicorn's own."""
    with plain.using({"uvicorn"} if request.param == "plain" else set()):
        yield


ours = pytest.mark.parametrize("way", ["quick"], indirect=True)
"""What uvicorn's own protocol does not do."""


async def hello(_request: Request) -> Response:
    return PlainTextResponse("hello")


async def length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def names(request: Request) -> Response:
    """Of the headers that a route sees once the whole request is here."""
    await request.body()
    return PlainTextResponse(" ".join(sorted(request.headers.keys())))


APP = Starlette(
    routes=[
        Route("/", hello),
        Route("/length", length, methods=["POST"]),
        Route("/names", names, methods=["POST"]),
    ]
)


class Wire:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, text: str | bytes) -> None:
        self._writer.write(text.encode() if isinstance(text, str) else text)
        await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        return (
            int(head[0].split()[1]),
            headers,
            await self._reader.readexactly(int(headers["content-length"])),
        )

    async def interim(self) -> int:
        """Status of a 1xx answer, which has nothing but a head."""
        return int((await self._reader.readuntil(b"\r\n\r\n")).split()[1])

    async def problem(self) -> tuple[int, str]:
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        assert await self.is_closed()
        return status, json.loads(body)["reason"]

    def stop_reading(self) -> None:
        """What comes stays in the system's buffers, until they are full."""
        cast(asyncio.ReadTransport, self._writer.transport).pause_reading()

    async def take(self, size: int) -> bytes:
        """So many bytes at most."""
        return await self._reader.read(size)

    async def is_closed(self) -> bool:
        return await self._reader.read() == b""

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def connected(port: int) -> AsyncGenerator[Wire]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def wire(patience: Patience = DEFAULT_PATIENCE) -> AsyncGenerator[Wire]:
    async with (
        serve_http(APP, LOOPBACK, 0, max_body_bytes=1000, patience=patience) as listening,
        connected(listening.port) as connection,
    ):
        yield connection


GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def post(size: int) -> str:
    return f"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"


def write(*headers: str, body: str = "abc") -> str:
    lines = ["POST /length HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", body])


@asynccontextmanager
async def door(room: Callable[[], int]) -> AsyncGenerator[Wire]:
    async with (
        serve_http(APP, LOOPBACK, 0, room=room) as listening,
        connected(listening.port) as connection,
    ):
        yield connection


@ours
async def test_without_room_a_write_is_refused_unread_and_its_connection_goes_on() -> None:
    async with door(lambda: 0) as wire:
        for _ in range(2):
            await wire.send(write())
            status, headers, body = await wire.answer()
            assert (status, headers["retry-after"]) == (503, "1")
            assert headers["content-type"] == "application/problem+json"
            assert (json.loads(body)["code"], json.loads(body)["reason"]) == ("UNAVAILABLE", "NOT_ACCEPTED")
            await wire.send(GET)  # what begins nothing is answered
            assert (await wire.answer())[0] == 200


@ours
@pytest.mark.parametrize(
    "parts",
    [
        ["POST /length HTTP/1.1\r\nHost: x\r\nContent-Le", "ngth: 6\r\n\r\nabc", "def"],
        ["POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "0\r\n\r\n"],
        [write(body=""), ""],
    ],
    ids=["in pieces", "chunked", "empty"],
)
async def test_the_body_of_what_is_refused_is_no_request(parts: list[str]) -> None:
    async with door(lambda: 0) as wire:
        for part in parts:
            await wire.send(part)
            await asyncio.sleep(0.01)
        assert (await wire.answer())[0] == 503
        await wire.send(GET)
        assert (await wire.answer())[0] == 200


@ours
async def test_pipelined_writes_are_answered_in_their_order() -> None:
    async with door(lambda: 0) as wire:
        await wire.send(write() + GET + write())
        # The last one waits behind a read that is being answered, so it goes the longer way.
        assert [(await wire.answer())[0] for _ in range(3)] == [503, 200, 200]


@ours
async def test_a_client_that_wants_its_connection_closed_gets_that_with_its_refusal() -> None:
    async with door(lambda: 0) as wire:
        await wire.send(write("Connection: close"))
        assert (await wire.answer())[0] == 503
        assert await wire.is_closed()


@ours
@pytest.mark.parametrize("header", ["Origin: https://shop.example", "Expect: 100-continue"])
async def test_what_the_door_cannot_answer_well_is_left_to_the_application(header: str) -> None:
    async with door(lambda: 0) as wire:
        await wire.send(write(header))
        if header.startswith("Expect"):
            assert await wire.interim() == 100
        assert (await wire.answer())[0] == 200


@ours
async def test_requests_on_their_way_take_the_room_of_those_behind_them() -> None:
    """Whoever counts sees them only in their first turn: without the door's own count, all of a burst would come in."""
    async with serve_http(APP, LOOPBACK, 0, room=lambda: 2) as listening, AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connected(listening.port)) for _ in range(8)]
        answers = [200] * 8
        while answers.count(200) > 2:  # until all have come in one turn of the loop
            time_to_arrive = asyncio.get_running_loop().time() + 0.02
            for each in wires:
                await each.send(write())
            while asyncio.get_running_loop().time() < time_to_arrive:
                pass  # hold the loop, which is the server's too
            answers = [(await each.answer())[0] for each in wires]
    assert sorted(answers) == [200] * 2 + [503] * 6


async def test_a_taken_port_is_named() -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} on {LOOPBACK} is taken"):
            async with serve_http(APP, LOOPBACK, port):
                pass


async def test_two_servers_cannot_share_a_port() -> None:
    async with serve_http(APP, LOOPBACK, 0) as listening:
        with pytest.raises(PortTaken):
            async with serve_http(APP, LOOPBACK, listening.port):
                pass


async def test_an_address_of_another_machine_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="assign") as caught:
        async with serve_http(APP, "192.0.2.1", 0):
            pass
    assert not isinstance(caught.value, PortTaken)


async def test_a_port_is_free_again_at_once() -> None:
    async with serve_http(APP, LOOPBACK, 0) as listening, connected(listening.port) as connection:
        await connection.send(GET)
        await connection.answer()
    async with serve_http(APP, LOOPBACK, listening.port):
        pass


async def test_errors_of_the_block_come_out_as_they_are() -> None:
    with pytest.raises(KeyError):
        async with serve_http(APP, LOOPBACK, 0):
            raise KeyError


async def test_requests_share_a_connection() -> None:
    async with wire() as connection:
        await connection.send(GET + GET)
        assert [(await connection.answer())[2] for _ in range(2)] == [b"hello"] * 2


async def test_a_body_beyond_the_limit_is_refused_and_the_connection_lives_on() -> None:
    async with wire() as connection:
        await connection.send(post(2_000_000) + "x" * 1_000_000)
        status, headers, body = await connection.answer()
        assert (status, headers["content-type"]) == (413, "application/problem+json")
        assert json.loads(body)["trace_id"] in headers["traceparent"]
        await connection.send("x" * 1_000_000 + GET)
        assert (await connection.answer())[2] == b"hello"


OFFERS = {
    "curl --http2": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
    "websocket": "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "several": "Connection: keep-alive,\tUPGRADE\r\nUpgrade: a/1\r\nUpgrade: TLS/1.3, h2c\r\n",
    "with no protocol": "Connection: upgrade\r\nUpgrade:\r\n",
    "without Connection": "Upgrade: h2c\r\n",
}
"""RFC 9110, 7.8: "A server MAY ignore a received Upgrade header field"; the request is as any other then."""
BODIES = {
    "length": "Content-Length: 5\r\n\r\nhello",
    "chunks": "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("offer", OFFERS)
async def test_an_offer_of_another_protocol_is_ignored_and_its_body_read(offer: str, body: str) -> None:
    request = f"POST /length HTTP/1.1\r\nHost: x\r\n{OFFERS[offer]}{BODIES[body]}"
    for piece in (1, 7, 10_000):  # bytes that arrive at a time
        async with wire() as connection:
            sent = request + GET
            for begin in range(0, len(sent), piece):
                await connection.send(sent[begin : begin + piece])
            assert (await connection.answer())[2] == b"5"
            assert (await connection.answer())[2] == b"hello", "what came behind it is answered too"


async def test_an_offer_without_a_body_is_ignored() -> None:
    async with wire() as connection:
        await connection.send(GET.replace("\r\n\r\n", f"\r\n{OFFERS['curl --http2']}\r\n") + GET)
        assert [(await connection.answer())[2] for _ in range(2)] == [b"hello"] * 2


@ours
async def test_a_tunnel_is_refused() -> None:
    """RFC 9110, 9.3.6: what would follow CONNECT is no HTTP."""
    async with wire() as connection:
        await connection.send("CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await connection.problem() == (501, "NO_TUNNEL")


CHUNKED = "POST /names HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"


async def test_trailer_fields_are_no_headers() -> None:
    """RFC 9110, 6.5.1: a recipient may not merge a trailer field into the headers unless its definition permits it."""
    async with wire() as connection:
        trailer = "Idempotency-Key: k\r\nX-Caller: admin\r\n\r\n"
        await connection.send(CHUNKED + trailer + GET)
        assert (await connection.answer())[2] == b"host transfer-encoding"
        assert (await connection.answer())[2] == b"hello"


@pytest.mark.parametrize("endless", ["x: " + "y" * 997, "x: y\r\n" * 200], ids=["one field", "many fields"])
async def test_endless_trailer_fields_are_cut_off(endless: str) -> None:
    async with wire() as connection:
        await connection.send(CHUNKED)
        assert await _sent_before_the_end(connection, endless * 10) < 1_000_000


async def test_an_endless_chunk_extension_is_cut_off() -> None:
    async with wire() as connection:
        await connection.send(CHUNKED.partition("{}")[0].removesuffix("\r\n") + ";")
        assert await _sent_before_the_end(connection, "x" * 10_000) < 1_000_000


async def test_a_body_in_chunks_is_counted() -> None:
    async with wire() as connection:
        await connection.send("POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            await connection.send(f"{500:x}\r\n{'x' * 500}\r\n")
        status, _, _ = await connection.answer()
        assert status == 413
        await connection.send("0\r\n\r\n" + post(1000) + "x" * 1000)
        assert (await connection.answer())[2] == b"1000"


@ours
async def test_an_answer_under_way_is_not_interrupted_by_what_follows() -> None:
    """Answers come in the order of the requests (RFC 9112, 9.3.2)."""
    may_answer = asyncio.Event()

    async def slow(request: Request) -> Response:
        await may_answer.wait()
        return PlainTextResponse(request.url.path)

    app = Starlette(routes=[Route("/{name}", slow)])
    async with serve_http(app, LOOPBACK, 0) as listening, connected(listening.port) as connection:
        requests = "".join(f"GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n" for name in "ab")
        await connection.send(requests + "nonsense\r\n\r\n")
        await asyncio.sleep(0.05)  # time enough to interrupt them
        may_answer.set()
        assert [(await connection.answer())[2] for _ in "ab"] == [b"/a", b"/b"]
        assert await connection.is_closed()


@pytest.mark.parametrize(
    "garbage", ["nonsense\r\n\r\n", "GET / HTTP/9\r\n\r\n", "GET /\xff\xfe HTTP/1.1\r\n\r\n"]
)
@ours
async def test_what_is_no_http_is_a_problem_and_the_end(garbage: str) -> None:
    async with wire() as connection:
        await connection.send(garbage.encode("latin-1"))
        assert await connection.problem() == (400, "INVALID_HTTP")


@ours
async def test_an_endless_head_is_cut_off() -> None:
    async with wire() as connection:
        await connection.send("GET / HTTP/1.1\r\nx: ")
        assert await _sent_before_the_end(connection) < 1_000_000


async def _sent_before_the_end(connection: Wire, part: str = "x" * 10_000) -> int:
    """Bytes that could be sent until the server closed the connection."""
    for count in range(1000):
        try:
            await connection.send(part)
        except ConnectionError:
            return count * len(part)
        await asyncio.sleep(0.001)
    return 10_000_000


async def test_a_long_address_is_refused() -> None:
    async with wire() as connection:
        await connection.send(f"GET /{'x' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await connection.answer())[0] == 414


IMPATIENT = Patience(head_s=0.1, body_s=0.1)


@ours
async def test_a_client_that_says_nothing_is_let_go() -> None:
    async with wire(IMPATIENT) as connection:
        assert await connection.is_closed()


@ours
async def test_a_head_that_does_not_end_times_out() -> None:
    async with wire(IMPATIENT) as connection:
        await connection.send("GET / HTTP/1.1\r\nHost:")
        assert await connection.problem() == (408, "REQUEST_TIMEOUT")


@ours
async def test_a_second_head_that_does_not_end_times_out() -> None:
    async with wire(IMPATIENT) as connection:
        await connection.send(GET)
        await connection.answer()
        await connection.send("GET / HT")
        assert (await connection.problem())[0] == 408


@ours
async def test_empty_lines_do_not_keep_a_connection_for_ever() -> None:
    async with wire(IMPATIENT) as connection:
        await connection.send(GET)
        await connection.answer()
        await connection.send("\r\n")
        assert await connection.is_closed()


@ours
async def test_a_body_that_does_not_end_times_out() -> None:
    async with wire(IMPATIENT) as connection:
        await connection.send(post(10) + "12345")
        assert await connection.problem() == (408, "REQUEST_TIMEOUT")


@ours
async def test_a_refused_body_that_does_not_end_closes_the_connection() -> None:
    async with wire(IMPATIENT) as connection:
        await connection.send(post(2000) + "12345")
        assert (await connection.answer())[0] == 413
        assert await connection.is_closed()


LARGE = b"x" * 4_000_000


async def large(_request: Request) -> Response:
    return Response(LARGE)


async def small(_request: Request) -> Response:
    return Response(LARGE[:20_000])


@asynccontextmanager
async def serving_large(patience: Patience) -> AsyncGenerator[int]:
    app = Starlette(routes=[Route("/", large), Route("/hello", hello), Route("/small", small)])
    async with serve_http(app, LOOPBACK, 0, patience=patience) as listening:
        yield listening.port


@ours
@pytest.mark.parametrize("asked", [GET, GET.replace("1.1\r\n", "1.1\r\nConnection: close\r\n")])
async def test_a_client_that_takes_nothing_is_let_go(asked: str) -> None:
    async with serving_large(Patience(answer_s=0.2)) as port, connected(port) as connection:
        await connection.send(asked)
        connection.stop_reading()
        assert await _sent_before_the_end(connection, GET) < 1_000_000


@ours
async def test_a_client_that_asks_and_takes_nothing_is_let_go() -> None:
    """Answers that are small pile up behind one another."""
    async with serving_large(Patience(answer_s=0.2)) as port, connected(port) as connection:
        connection.stop_reading()
        asked = GET.replace("GET /", "GET /small") * 10
        assert await _sent_before_the_end(connection, asked) < 10_000 * len(asked)


@ours
async def test_refusals_that_nobody_takes_do_not_pile_up() -> None:
    async with serve_http(APP, LOOPBACK, 0, room=lambda: 0) as listening, connected(listening.port) as flood:
        flood.stop_reading()
        sending = asyncio.create_task(flood.send((post(1) + "x") * 100_000))
        await eventually_async("the client to be behind", lambda: _untaken() > 0)
        await asyncio.sleep(0.2)  # time enough for more
        assert _untaken() < 1_000_000
        assert await answered(listening.port), "reads have room"
        sending.cancel()


def _untaken() -> int:
    """Bytes that servers of this process have written and nobody has taken."""
    return sum(each.get_write_buffer_size() for each in gc.get_objects() if isinstance(each, Outgoing))


@ours
async def test_requests_in_line_are_bounded_and_all_answered() -> None:
    may_answer = asyncio.Event()

    async def slow(request: Request) -> Response:
        await may_answer.wait()
        return PlainTextResponse(request.url.query)

    app = Starlette(routes=[Route("/", slow)])
    async with serve_http(app, LOOPBACK, 0) as listening, connected(listening.port) as connection:
        count = 3_000
        requests = "".join(f"GET /?{number} HTTP/1.1\r\nHost: x\r\n\r\n" for number in range(count))
        sending = asyncio.create_task(connection.send(requests))
        await eventually_async("requests to be in line", lambda: _in_line() > 10)
        await asyncio.sleep(0.2)  # time enough for all of them
        assert _in_line() < 1_000
        may_answer.set()
        for number in range(count):
            assert (await connection.answer())[2] == str(number).encode()
            assert number % 500 or _in_line() < 1_000
        await sending


def _in_line() -> int:
    """Requests that servers of this process have read the heads of, and not answered yet."""
    return sum(isinstance(each, RequestResponseCycle) for each in gc.get_objects())


async def test_a_client_that_takes_its_time_gets_all_of_it() -> None:
    async with serving_large(Patience(answer_s=1.0)) as port, connected(port) as connection:
        await connection.send(GET)
        taken = 0
        while taken < len(LARGE):
            taken += len(await connection.take(300_000))
            await asyncio.sleep(0.15)
        await connection.send(GET.replace("GET /", "GET /hello"))


GLOBAL = Peers(trusted=())
"""All that is on loopback is a stranger."""


@asynccontextmanager
async def crowd(port: int, count: int) -> AsyncGenerator[list[Wire]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected(port)) for _ in range(count)]


@pytest.mark.parametrize(
    "peers",
    [Peers(max_connections=3), replace(GLOBAL, max_per_address=3)],
    ids=["in all", "from one address"],
)
@ours
async def test_a_connection_too_many_is_told_so_and_the_others_live(peers: Peers) -> None:
    async with serve_http(APP, LOOPBACK, 0, peers=peers) as listening:
        async with crowd(listening.port, 3) as crowded:
            for connection in crowded:
                await connection.send(GET)
                assert (await connection.answer())[0] == 200
            async with connected(listening.port) as another:
                status, headers, body = await another.answer()
                assert (status, json.loads(body)["reason"]) == (503, "OVERLOADED")
                assert (headers["retry-after"], headers["connection"]) == ("1", "close")
                assert await another.is_closed()
            await crowded[0].send(GET)
            assert (await crowded[0].answer())[0] == 200
        await eventually_async("a place to be free again", lambda: answered(listening.port), bool)


async def answered(port: int) -> bool:
    async with connected(port) as connection:
        await connection.send(GET)
        return (await connection.answer())[0] == 200


async def test_a_proxy_may_have_any_number_of_connections() -> None:
    peers = Peers(max_per_address=1, trusted=(ip_network("127.0.0.1"),))
    async with serve_http(APP, LOOPBACK, 0, peers=peers) as listening, crowd(listening.port, 5) as crowded:
        for connection in crowded:
            await connection.send(GET)
            assert (await connection.answer())[0] == 200


@ours
async def test_a_flood_of_connections_is_cut_off_and_fills_no_log(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve_http(APP, LOOPBACK, 0, peers=Peers(max_connections=1)) as listening:
        async with connected(listening.port) as first:
            for _ in range(1000):
                async with connected(listening.port):
                    pass
            await first.send(GET)
            assert (await first.answer())[0] == 200
        await eventually_async("a place to be free again", lambda: answered(listening.port), bool)
    said = caplog.text + capsys.readouterr().out
    assert said.count("connections are refused") == 1


@pytest.mark.parametrize(
    ("networks", "address", "expected"),
    [
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("10.0.0.0/8",), "11.1.2.3", False),
        (("fd00::/8",), "fd00::1%eth0", True),
        (("fd00::/8",), "10.1.2.3", False),
        (("10.0.0.0/8",), "", False),
        (("10.0.0.0/8",), "unix:", False),
        ((), "127.0.0.1", False),
    ],
)
def test_an_address_is_in_a_network(networks: tuple[str, ...], address: str, expected: bool) -> None:
    assert is_within([ip_network(each) for each in networks], address) is expected


def test_of_ipv6_a_network_counts_as_one_client() -> None:
    connections = Connections(Peers(max_per_address=2, trusted=()))
    assert [connections.enter(f"2001:db8:0:1::{number}") == "" for number in range(3)] == [True, True, False]
    assert connections.enter("2001:db8:0:2::1") == ""
    assert [connections.enter(f"::ffff:10.0.0.{number}") for number in range(1, 4)] == [""] * 3
    connections.leave("2001:db8:0:1::1")
    assert connections.enter("2001:db8:0:1::9%eth0") == ""


async def test_idle_connections_do_not_delay_the_end() -> None:
    server = serve_http(APP, LOOPBACK, 0)
    listening = await server.__aenter__()
    async with connected(listening.port) as idle, connected(listening.port):
        await idle.send(GET)
        await idle.answer()
        async with asyncio.timeout(under_load(2)):
            await server.__aexit__(None, None, None)
        assert await idle.is_closed()


async def test_a_request_under_way_is_answered_before_the_end() -> None:
    began, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(_request: Request) -> Response:
        began.set()
        await may_answer.wait()
        return PlainTextResponse("done")

    app = Starlette(routes=[Route("/", slow)])
    server = serve_http(app, LOOPBACK, 0)
    listening = await server.__aenter__()
    async with connected(listening.port) as connection:
        await connection.send(GET)
        await began.wait()
        stopping = asyncio.create_task(server.__aexit__(None, None, None))
        await asyncio.sleep(0.01)  # so that it has begun to stop
        may_answer.set()
        assert (await connection.answer())[2] == b"done"
        await stopping


async def test_a_request_that_does_not_end_is_cancelled() -> None:
    began, was_cancelled = asyncio.Event(), False

    async def endless(_request: Request) -> Response:
        nonlocal was_cancelled
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled = True
            raise
        raise AssertionError

    app = Starlette(routes=[Route("/", endless)])
    server = serve_http(app, LOOPBACK, 0, stop_s=0)
    listening = await server.__aenter__()
    async with connected(listening.port) as connection:
        await connection.send(GET)
        await began.wait()
        await server.__aexit__(None, None, None)
    assert was_cancelled


async def test_a_request_that_ignores_its_end_does_not_hold_the_server() -> None:
    may_end, has_ended = asyncio.Event(), asyncio.Event()

    async def stubborn(_request: Request) -> Response:
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()
        has_ended.set()
        return PlainTextResponse("late")

    server = serve_http(Starlette(routes=[Route("/", stubborn)]), LOOPBACK, 0, stop_s=0)
    listening = await server.__aenter__()
    async with connected(listening.port) as connection:
        await connection.send(GET)
        await asyncio.sleep(0.05)
        async with asyncio.timeout(60):
            await server.__aexit__(None, None, None)
        assert not has_ended.is_set()
        may_end.set()
        await has_ended.wait()
