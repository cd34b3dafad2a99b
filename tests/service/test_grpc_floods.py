"""Clients that flood a service, keep it waiting or take nothing are let go; others are served, and memory returns."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import hpack
import pytest
from grpclib.protocol import Stream
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    Event,
    ResponseReceived,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger import GET, PUT, SCHEMA, Ledger, PutRequest, PutResponse, put, running
from small_mesh import saga_call
from thorough import FUZZ_ROUNDS, SLOW_AND_LARGE
from waiting import LIMIT_S, eventually_async

from sagagen.runtime import taken
from sagagen.runtime.service.call import CallContext
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.transports.grpc import server as server_module
from sagagen.runtime.transports.grpc.client import GrpcTransport
from sagagen.runtime.transports.grpc.fast import floods
from sagagen.runtime.transports.grpc.fast import server as fast_server
from sagagen.runtime.transports.grpc.fast.protocol import CollectedWrites
from sagagen.runtime.transports.grpc.server import serve_grpc

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", PUT.path),
    (":authority", "x"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]
WHOLE = len(put()).to_bytes(5) + put()


@asynccontextmanager
async def served(folder: Path, ledger: Ledger | None = None) -> AsyncGenerator[tuple[ServiceHost, int]]:
    async with (
        running(folder, ledger or Ledger()) as host,
        serve_grpc(host, "127.0.0.1", 0, SCHEMA) as port,
    ):
        yield host, port


class Client:
    """One connection, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        anything = H2Configuration(
            client_side=True,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = H2Connection(anything)
        self.h2.initiate_connection()
        self.events: list[Event] = []
        self.is_over = False

    async def send(self) -> None:
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()

    def begin(self, path: str = PUT.path) -> int:
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(
            number, [(":path", path) if name == ":path" else (name, value) for name, value in HEADERS]
        )
        return number

    async def read(self) -> bool:
        """What has come; false once the server has closed."""
        try:
            data = await self.reader.read(65536)
        except ConnectionError:
            data = b""
        if data:
            self.events += self.h2.receive_data(data)
        self.is_over = not data
        return bool(data)

    async def until(self, kind: type[Event]) -> Event:
        async with asyncio.timeout(LIMIT_S):
            while not (found := [event for event in self.events if isinstance(event, kind)]):
                assert await self.read(), f"closed before {kind.__name__}"
        return found[0]


@asynccontextmanager
async def connected(port: int) -> AsyncGenerator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(reader, writer)
    try:
        await client.send()
        yield client
    finally:
        writer.transport.abort()


async def is_served(port: int) -> bool:
    async with GrpcTransport("127.0.0.1", port) as transport:
        reply = await transport.call(GET.path, b"", metadata={}, timeout_s=LIMIT_S)
        return PutResponse.parse(reply.response).total >= 0


def streams() -> int:
    """That grpclib holds, of all connections of this process."""
    gc.collect()
    return sum(isinstance(each, Stream) for each in gc.get_objects())


async def test_streams_that_were_reset_are_forgotten(tmp_path: Path) -> None:
    """A task that is cancelled before its first turn releases nothing."""
    async with served(tmp_path) as (_, port), connected(port) as client:
        before = streams()
        for _ in range(500):
            client.h2.reset_stream(client.begin())
        await client.send()
        assert await is_served(port)
        await eventually_async("streams to be forgotten", streams, lambda count: count <= before + 5)


async def test_a_flood_of_resets_ends_the_connection_and_no_other(tmp_path: Path) -> None:
    """CVE-2023-44487: each costs the client a few bytes, and the server a task."""
    async with served(tmp_path) as (_, port), connected(port) as client:
        reading = asyncio.create_task(client.until(ConnectionTerminated))
        with suppress(ConnectionError, ProtocolError):  # h2 sends nothing after GOAWAY
            for _ in range(200):
                for _ in range(100):
                    client.h2.reset_stream(client.begin())
                await client.send()
        ended = await reading
        assert isinstance(ended, ConnectionTerminated)
        assert ended.error_code == ErrorCodes.ENHANCE_YOUR_CALM
        assert await is_served(port)


@pytest.mark.parametrize("sent", [b"", WHOLE[:3], WHOLE[:-1], (4_000_000).to_bytes(5) + b"x" * 1000])
async def test_a_request_that_does_not_come_is_not_waited_for_for_ever(
    tmp_path: Path, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "REQUEST_S", 0.2)
    async with served(tmp_path) as (_, port), connected(port) as client:
        number = client.begin()
        client.h2.send_data(number, sent)
        await client.send()
        assert status_of(await client.until(ResponseReceived)) == "4", "DEADLINE_EXCEEDED"


@asynccontextmanager
async def without_windows(port: int) -> AsyncGenerator[Client]:
    """A client that lets nothing be sent to it."""
    async with connected(port) as client:
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        await client.send()
        yield client


async def test_an_answer_that_has_no_window_is_not_kept_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "ANSWER_S", 0.2)
    async with served(tmp_path) as (_, port), without_windows(port) as client:
        client.h2.send_data(client.begin(), WHOLE, end_stream=True)
        await client.send()
        await client.until(StreamReset)
        assert await is_served(port)


async def test_a_client_that_reads_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers to pings have no window: they would pile up."""
    monkeypatch.setattr(taken, "TAKEN_WITHIN_S", 0.2)
    async with served(tmp_path) as (_, port), connected(port) as client:
        for _ in range(20):
            client.h2.ping(b"12345678")
        pings = client.h2.data_to_send()
        sent = 0
        with suppress(ConnectionError):
            while sent < 50_000_000:
                client.writer.write(pings * 1000)
                await client.writer.drain()
                sent += len(pings) * 1000
        assert sent < 50_000_000
        assert await is_served(port)


async def test_a_connection_without_a_call_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floods, "BEGIN_S", 0.2)
    async with served(tmp_path) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(LIMIT_S), connected(port) as client:
            while await reader.read(65536):  # says nothing at all
                pass
            while await client.read():  # says only hello
                pass
        writer.close()
        assert await is_served(port)


async def test_idle_connections_make_room_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_server, "MAX_CONNECTIONS", 3)
    async with served(tmp_path) as (_, port), AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(connected(port)) for _ in range(3)]
        for client in crowd[1:]:
            client.begin()
            await client.send()
        await asyncio.sleep(0.1)
        assert await is_served(port), "the first is idle"
        await crowd[0].until(ConnectionTerminated)


@pytest.mark.parametrize("said", [b"\0\0\0\0\x0a12345", b"\0\0", b"", b"\1\0\0\0\1x", b"\0\xff\xff\xff\xff"])
async def test_a_message_that_is_not_as_announced_is_the_clients_fault(
    tmp_path: Path, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as (_, port), connected(port) as client:
        client.h2.send_data(client.begin(), said, end_stream=True)
        await client.send()
        event = await client.until(ResponseReceived)
        assert status_of(event) in {"3", "8", "12"}, "INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED"
    assert "Traceback" not in caplog.text
    assert "error" not in caplog.text.lower()


def status_of(event: Event) -> str:
    headers: Any = getattr(event, "headers", None) or ()
    return dict(headers)["grpc-status"]


# -- made-up conversations -------------------------------------------------------------------------------------------

Headers = list[tuple[str, str]]
HEADERS_FRAME, DATA_FRAME, RESET_FRAME, PING_FRAME = 1, 0, 3, 6
END_STREAM, END_HEADERS, ACK = 1, 4, 1


class Rude:
    """A client that keeps to no rule: frames as they are, on whatever stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self.stream = -1
        self.pongs = 0
        self.said: list[dict[str, str]] = []
        """The headers and trailers that have come."""
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(4, 0, 0, b"")

    def frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self._writer.write(len(payload).to_bytes(3) + bytes([kind, flags]) + number.to_bytes(4) + payload)

    def headers(self, headers: Headers, flags: int = 0) -> None:
        self.stream += 2
        self.frame(HEADERS_FRAME, END_HEADERS | flags, self.stream, self._encoder.encode(headers))

    async def read_what_is_there(self) -> None:
        """And what the answer to a ping comes behind."""
        before = self.pongs
        self.frame(PING_FRAME, 0, 0, b"12345678")
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._writer.drain()
            while self.pongs == before:
                await self._read_frame()

    async def _read_frame(self) -> None:
        head = await self._reader.readexactly(9)
        payload = await self._reader.readexactly(int.from_bytes(head[:3]))
        kind, flags = head[3], head[4]
        self.pongs += kind == PING_FRAME and flags == ACK
        if kind == HEADERS_FRAME:
            self.said.append(dict(cast(Any, self._decoder.decode(payload))))


Frame = Callable[[Rude], None]
NAMES = [
    *saga_call().to_metadata(),
    "traceparent",
    "te",
    "content-type",
    "grpc-timeout",
    "x",
    "x-bin",
    "X",
    "",
]
TEXTS = st.sampled_from(
    ["", "0", "-1", "9" * 5000, "DONE", "action", "1S", "99999999H", "application/grpc+json"]
)
named = st.tuples(st.sampled_from(NAMES), TEXTS | st.text(st.characters(codec="utf-8"), max_size=20))
paths = st.sampled_from([*[PUT.path] * 3, GET.path, "/x", "", "/grpc.health.v1.Health/Check"])
messages = st.sampled_from([WHOLE, WHOLE, b"", WHOLE[:-1], WHOLE + b"x", b"\1" + WHOLE[1:]]) | st.binary(
    max_size=60
).map(lambda body: len(body).to_bytes(5) + body)


def call(path: str, others: Headers, without: str, message: bytes, is_whole: bool) -> Frame:
    """Usual headers but for one, others beside or instead of them, and a message."""
    changed = {":path": path, **dict(others)}
    usual = [(name, changed.pop(name, value)) for name, value in HEADERS if name != without]

    def act(client: Rude) -> None:
        client.headers([*usual, *changed.items()])
        client.frame(DATA_FRAME, END_STREAM if is_whole else 0, client.stream, message)

    return act


def on_last(kind: int, flags: int, payload: bytes) -> Frame:
    return lambda client: client.frame(kind, flags, max(client.stream, 1), payload)


def anywhere(kind: int, flags: int, number: int, payload: bytes) -> Frame:
    return lambda client: client.frame(kind, flags, number, payload)


usual_call = st.builds(call, paths, st.just([]), st.just(""), messages, st.just(True))


def saga_call_with(changed: Headers, message: bytes) -> Frame:
    return call(PUT.path, [*({**saga_call().to_metadata(), **dict(changed)}).items()], "", message, True)


saga_calls = st.builds(saga_call_with, st.lists(named, max_size=2), messages)
odd_call = st.builds(
    call,
    paths,
    st.lists(named, max_size=4),
    st.sampled_from(["", "", *(name for name, _ in HEADERS)]),
    messages,
    st.booleans(),
)
harmless = st.sampled_from(
    [on_last(RESET_FRAME, 0, bytes(4)), on_last(DATA_FRAME, 0, b""), anywhere(PING_FRAME, 0, 0, bytes(8))]
)
made_up = st.builds(
    anywhere,
    st.integers(0, 11),
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3, 5]),
    st.binary(max_size=30),
)
FRAMES = 12
conversations = st.tuples(
    st.lists(
        st.one_of(usual_call, saga_calls, odd_call, odd_call, harmless), min_size=FRAMES, max_size=FRAMES
    ),
    st.lists(made_up, max_size=2),
).map(lambda parts: [*parts[0], *parts[1]])


@settings(max_examples=30 * FUZZ_ROUNDS, deadline=None, suppress_health_check=SLOW_AND_LARGE)
@given(conversation=conversations)
def converse(world: "World", conversation: list[Frame]) -> None:
    world.run(conversation)


class World:
    """A service, and an event loop of its own."""

    def __init__(self, runner: asyncio.Runner, port: int) -> None:
        self._runner, self._port = runner, port
        self.statuses: Counter[str] = Counter()
        self.messages: list[str] = []

    def run(self, conversation: list[Frame]) -> None:
        self._runner.run(self._held(conversation))

    async def _held(self, conversation: list[Frame]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        client = Rude(reader, writer)
        for frame in conversation:
            frame(client)
        for _ in range(2):  # another's call gives it time to answer these
            await client.read_what_is_there()
            assert await is_served(self._port)
        writer.transport.abort()
        for said in client.said:
            if "grpc-status" in said:
                self.statuses[said["grpc-status"]] += 1
                self.messages.append(said.get("grpc-message", ""))


async def agree(_request: PutRequest, _call: CallContext) -> PutResponse:
    return PutResponse(total=7)


def test_made_up_conversations_are_the_clients_fault_and_leave_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """10,000 frames and more with SAGAGEN_FUZZ_ROUNDS=50: no INTERNAL, no UNKNOWN, no traceback, and no growth."""
    with asyncio.Runner() as runner:
        ledger = Ledger()
        ledger.on_put = agree
        serving = served(tmp_path, ledger)
        _, port = runner.run(serving.__aenter__())
        world = World(runner, port)
        converse(world)
        for _ in range(100):  # what is made up may be such that all is answered, or that nobody waits for it
            if len(world.statuses) == 1:
                world.run([call("/x", [], "", WHOLE, True)])
        runner.run(eventually_async("streams to be forgotten", streams, lambda count: count <= 50))
        runner.run(serving.__aexit__(None, None, None))
    assert "13" not in world.statuses, "INTERNAL"
    assert "Internal Server Error" not in world.messages, "grpclib's UNKNOWN for what our code raises"
    assert "Fatal error" not in caplog.text
    assert world.statuses["0"] > 0, "some are answered"
    assert len(world.statuses) > 1, "and some refused"
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("value", ["\x89", "a", "a" * 21, "\u20ac"])
async def test_binary_metadata_that_are_none_are_nobodys_fault(
    tmp_path: Path, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = Rude(reader, writer)
        call(PUT.path, [("x-bin", value)], "", WHOLE, True)(client)
        while not any("grpc-status" in said for said in client.said):
            await client.read_what_is_there()
        assert client.said[-1]["grpc-status"] == "0"
        writer.close()
    assert "Traceback" not in caplog.text


async def test_a_call_that_comes_after_its_deadline_is_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = Rude(reader, writer)
        call(PUT.path, [("grpc-timeout", "0n")], "", WHOLE, True)(client)
        await client.read_what_is_there()
        assert await is_served(port)
        writer.close()
    assert "Traceback" not in caplog.text


class LostTransport(asyncio.Transport):
    """As uvloop's is for a moment under network faults: closed, and not known to be closing."""

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def close(self) -> None:
        pass


async def test_a_connection_that_is_lost_while_written_to_is_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unhandled: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    h2 = H2Connection(H2Configuration(client_side=True))
    collected = CollectedWrites(LostTransport(), h2)
    collected.write(bytes(9))  # waits for the loop to turn
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    collected.write(b"\0\0\0\0\1\0\0\0\1")  # ends a stream: at once
    collected.close()
    assert unhandled == []
