"""The short way for a unary call's frames comes to the same as h2's own, whatever is sent, received or made up."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, ResponseReceived, StreamEnded, TrailersReceived
from h2.exceptions import H2Error, ProtocolError
from h2.settings import SettingCodes
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from thorough import FUZZ_ROUNDS

from sagagen.runtime.transports.grpc.fast.frames import UnaryConnection
from sagagen.runtime.transports.grpc.fast.headers import HeaderDecoder, HeaderEncoder

Headers = list[tuple[str, str]]

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/shop.v1.Stock/Reserve"), ("te", "trailers")]
ANSWER = [(":status", "200"), ("content-type", "application/grpc+proto")]
TRAILERS = [("grpc-status", "0"), ("sagagen-replayed", "true")]
LENGTH = [("content-length", "5")]
KINDS: list[Headers] = [
    REQUEST,
    [*REQUEST, *LENGTH],
    [(":method", "HEAD"), *REQUEST[1:]],
    [*REQUEST, ("long", "x" * 40_000)],
    ANSWER,
    [*ANSWER, *LENGTH],
    [(":status", "503")],
    [(":status", "100")],
    TRAILERS,
    [*TRAILERS, *LENGTH, ("content-length", "x")],
    [*TRAILERS, ("grpc-message", "y" * 17_000)],
]


def config(is_client: bool) -> H2Configuration:
    """As grpclib has it, but that text is UTF-8 and not ASCII."""
    return H2Configuration(
        client_side=is_client,
        header_encoding="utf-8",
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_inbound_headers=False,
        normalize_outbound_headers=False,
    )


class Twins:
    """One side of a connection, twice: h2's and ours."""

    def __init__(self, is_client: bool) -> None:
        self.plain, self.quick = H2Connection(config(is_client)), UnaryConnection(config(is_client))
        self.plain.encoder, self.plain.decoder = HeaderEncoder(), HeaderDecoder(2**16)  # pyright: ignore
        self.sent = bytearray()
        self.is_broken = False

    def do(self, action: Callable[[H2Connection], Any]) -> Any:
        """The same with both, which has to come to the same; returns what that is, events or an error."""
        said = [outcome(action, connection) for connection in (self.plain, self.quick)]
        if said[0] == (
            UnicodeDecodeError,
            None,
        ):  # h2 lets it out, which ends the connection too, without GOAWAY
            assert said[1] == (ProtocolError, ErrorCodes.PROTOCOL_ERROR)
            return said[1]
        assert said[0] == said[1]
        written = [connection.data_to_send() for connection in (self.plain, self.quick)]
        assert written[0] == written[1]
        assert state_of(self.plain) == state_of(self.quick)
        self.sent += written[0]
        return said[0]

    def receive(self, data: bytes) -> list[Any]:
        """Nothing any more after a first error, with which a connection ends."""
        if self.is_broken:
            return []
        said = self.do(lambda connection: connection.receive_data(data))
        self.is_broken = isinstance(said, tuple)
        if self.is_broken:
            return []
        assert kept_back(self.plain) == kept_back(self.quick)
        return said


def outcome(action: Callable[[H2Connection], Any], connection: H2Connection) -> Any:
    """Events as what they hold; an error as a tuple of what it is."""
    try:
        events = action(connection)
    except (H2Error, ValueError, KeyError, AssertionError, IndexError) as error:
        return type(error), getattr(error, "error_code", None)
    return [plain_event(event) for event in cast(list[Any], events or [])]


def plain_event(event: Any) -> Any:
    if event is None:
        return None
    fields = cast(dict[str, object], vars(event))
    held = {name: repr(value) for name, value in fields.items() if name not in {"headers", "stream_ended"}}
    headers: list[tuple[bytes, bytes]] = [tuple(header) for header in getattr(event, "headers", [])]
    return type(event), held, headers, plain_event(getattr(event, "stream_ended", None))


def state_of(connection: H2Connection) -> Any:
    """All that decides how it goes on."""
    _ = connection.open_inbound_streams, connection.open_outbound_streams  # h2 forgets closed ones only here
    streams = {
        number: (
            dict(vars(stream.state_machine)),
            stream.outbound_flow_control_window,
            window(stream._inbound_window_manager),  # pyright: ignore[reportPrivateUsage] - what decides is what is compared
            stream._expected_content_length,  # pyright: ignore[reportPrivateUsage]
            stream._actual_content_length,  # pyright: ignore[reportPrivateUsage]
            stream.request_method,
            stream.max_outbound_frame_size,
        )
        for number, stream in connection.streams.items()
    }
    return (
        connection.state_machine.state,
        connection.outbound_flow_control_window,
        window(connection._inbound_flow_control_window_manager),  # pyright: ignore[reportPrivateUsage]
        (connection.highest_inbound_stream_id, connection.highest_outbound_stream_id),
        streams,
        closed_streams(connection),
    )


def closed_streams(connection: H2Connection) -> dict[int, Any]:
    """What it still knows of streams that are over."""
    return dict(connection._closed_streams)  # pyright: ignore[reportPrivateUsage]


def kept_back(connection: H2Connection) -> tuple[bytes, int]:
    """Of a frame, and of a block of headers, that is not all there."""
    buffer = connection.incoming_buffer
    return bytes(buffer._data), len(buffer._headers_buffer)  # pyright: ignore[reportPrivateUsage]


def window(manager: Any) -> dict[str, int]:
    return dict(cast(dict[str, int], vars(manager)))


sides = st.sampled_from(["client", "server"])
choices = st.sampled_from([0, 0, 0, 1, 1, 2, 3, -1])
"""Of the streams the last, the one before and so on; or one that nobody has opened."""
sizes = st.sampled_from([0, 1, 5, 5, 5, 100, 1_000, 16_384, 16_385, 33_000])


class Conversation(RuleBasedStateMachine):
    """Two sides, what is on its way between them, and somebody who puts frames of his own in between."""

    def __init__(self) -> None:
        super().__init__()
        self._connect()

    def _connect(self) -> None:
        self.client, self.server = Twins(is_client=True), Twins(is_client=False)
        for side in (self.client, self.server):
            side.do(lambda connection: connection.initiate_connection())
        self._deliver(self.client, 10_000)
        self._deliver(self.server, 10_000)
        self.next_stream = 1
        self.request(size=5, is_whole=True, arrives=True)

    def _call(self, headers: Headers, end: bool = False) -> int:
        number = self.next_stream
        self.client.do(lambda connection: connection.send_headers(number, headers, end_stream=end))
        if number in self.client.quick.streams:
            self.next_stream += 2
        return number

    def stream(self, choice: int) -> int:
        """The number of a stream."""
        return max(1, self.next_stream - 2 * (choice + 1)) if choice >= 0 else self.next_stream + 7

    def side(self, name: str) -> Twins:
        return self.client if name == "client" else self.server

    def _deliver(self, sender: Twins, size: int) -> None:
        receiver = self.server if sender is self.client else self.client
        data = bytes(sender.sent[:size])
        del sender.sent[:size]
        if data:
            receiver.receive(data)
        if receiver.is_broken:
            self._connect()

    @rule(size=st.sampled_from([1, 8, 9, 60, 10_000, 200_000]), side=sides)
    def deliver(self, side: str, size: int) -> None:
        self._deliver(self.side(side), size)

    @rule(size=sizes, is_whole=st.booleans(), arrives=st.booleans())
    def request(self, size: int, is_whole: bool, arrives: bool) -> None:
        """What grpclib does for a call."""
        number = self._call(REQUEST)
        self.client.do(lambda connection: connection.send_data(number, b"r" * size, end_stream=is_whole))
        if arrives:
            self._deliver(self.client, 200_000)

    @rule(kind=st.sampled_from(KINDS), end=st.booleans())
    def odd_request(self, kind: Headers, end: bool) -> None:
        self._call(kind, end)

    @rule(choice=choices, size=sizes, is_whole=st.booleans(), arrives=st.booleans())
    def answer(self, choice: int, size: int, is_whole: bool, arrives: bool) -> None:
        number = self.stream(choice)
        self.server.do(lambda connection: connection.send_headers(number, ANSWER))
        self.server.do(lambda connection: connection.send_data(number, b"a" * size))
        if is_whole:
            self.server.do(lambda connection: connection.send_headers(number, TRAILERS, end_stream=True))
        if arrives:
            self._deliver(self.server, 200_000)

    @rule(side=sides, choice=choices, kind=st.sampled_from(KINDS), end=st.booleans())
    def headers(self, side: str, choice: int, kind: Headers, end: bool) -> None:
        number = self.stream(choice)
        if (
            side == "server" or number < self.next_stream
        ):  # a client that leaves numbers out is tried elsewhere
            self.side(side).do(lambda connection: connection.send_headers(number, kind, end_stream=end))

    @rule(choice=choices)
    def headers_of_priority(self, choice: int) -> None:
        number = self.next_stream
        self.client.do(lambda connection: connection.send_headers(number, REQUEST, priority_weight=3))
        if number in self.client.quick.streams:
            self.next_stream += 2

    @rule(
        side=sides, choice=choices, size=sizes, end=st.booleans(), padding=st.sampled_from([None, None, 0, 7])
    )
    def data(self, side: str, choice: int, size: int, end: bool, padding: int | None) -> None:
        number = self.stream(choice)
        self.side(side).do(
            lambda connection: connection.send_data(number, b"d" * size, end_stream=end, pad_length=padding)
        )

    @rule(side=sides, choice=choices)
    def end(self, side: str, choice: int) -> None:
        self.side(side).do(lambda connection: connection.end_stream(self.stream(choice)))

    @rule(side=sides, choice=choices)
    def reset(self, side: str, choice: int) -> None:
        self.side(side).do(lambda connection: connection.reset_stream(self.stream(choice), ErrorCodes.CANCEL))

    @rule(side=sides, choice=choices, size=sizes)
    def read(self, side: str, choice: int, size: int) -> None:
        number = self.stream(choice)
        self.side(side).do(lambda connection: connection.acknowledge_received_data(size, number))

    @rule(side=sides, choice=st.none() | choices, size=st.sampled_from([1, 70_000]))
    def open_window(self, side: str, choice: int | None, size: int) -> None:
        number = None if choice is None else self.stream(choice)
        self.side(side).do(lambda connection: connection.increment_flow_control_window(size, number))

    @rule(
        side=sides,
        setting=st.sampled_from(
            [
                (SettingCodes.INITIAL_WINDOW_SIZE, 0),
                (SettingCodes.INITIAL_WINDOW_SIZE, 10),
                (SettingCodes.INITIAL_WINDOW_SIZE, 1_000_000),
                (SettingCodes.MAX_CONCURRENT_STREAMS, 2),
                (SettingCodes.MAX_FRAME_SIZE, 30_000),
                (SettingCodes.HEADER_TABLE_SIZE, 0),
            ]
        ),
    )
    def set(self, side: str, setting: tuple[SettingCodes, int]) -> None:
        self.side(side).do(lambda connection: connection.update_settings(dict([setting])))
        self._deliver(self.side(side), 200_000)

    @rule(side=sides)
    def ping(self, side: str) -> None:
        self.side(side).do(lambda connection: connection.ping(b"12345678"))

    @rule(
        side=sides,
        kind=st.sampled_from([0, 0, 1, 1, 3, 8, 9, 2, 4, 6, 7, 11]),
        flags=st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x25, 0xFF]),
        choice=choices | st.none(),
        reserved=st.sampled_from([0, 0x8000_0000]),
        payload=st.sampled_from([b"", b"\x00\x00\x00\x05", b"\x83", b"\x88", b"\x80", b"\x00\x07grpc-st"])
        | st.binary(max_size=12),
    )
    def made_up_frame(
        self, side: str, kind: int, flags: int, choice: int | None, reserved: int, payload: bytes
    ) -> None:
        number = reserved | (0 if choice is None else self.stream(choice))
        head = len(payload).to_bytes(3) + bytes([kind, flags]) + number.to_bytes(4)
        self.side(side).receive(head + payload)
        if self.side(side).is_broken:
            self._connect()


Conversation.TestCase.settings = settings(max_examples=50 * FUZZ_ROUNDS, stateful_step_count=50)
TestConversation = Conversation.TestCase


@pytest.fixture
def connected() -> tuple[Twins, Twins]:
    client, server = Twins(is_client=True), Twins(is_client=False)
    for side in (client, server):
        side.do(lambda connection: connection.initiate_connection())
    return client, server


def carry(sender: Twins, receiver: Twins) -> list[type]:
    """What arrived, as kinds of events."""
    data = bytes(sender.sent)
    sender.sent.clear()
    return [event[0] for event in receiver.receive(data)]


def call(client: Twins, server: Twins, number: int) -> list[list[type]]:
    client.do(lambda connection: connection.send_headers(number, REQUEST))
    client.do(lambda connection: connection.send_data(number, b"request", end_stream=True))
    asked = carry(client, server)
    server.do(lambda connection: connection.acknowledge_received_data(7, number))
    server.do(lambda connection: connection.send_headers(number, ANSWER))
    server.do(lambda connection: connection.send_data(number, b"answer"))
    server.do(lambda connection: connection.send_headers(number, TRAILERS, end_stream=True))
    answered = carry(server, client)
    client.do(lambda connection: connection.acknowledge_received_data(6, number))
    return [asked, answered]


def test_a_call_after_the_first_one_never_reaches_h2(
    connected: tuple[Twins, Twins], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = connected
    call(client, server, 1)
    carry(client, server)
    carry(server, client)
    entered: list[str] = []
    for name in ("receive_data", "send_headers", "send_data", "acknowledge_received_data"):
        of_h2 = getattr(H2Connection, name)

        def spy(self: H2Connection, *given: Any, _name: str = name, _of_h2: Any = of_h2, **named: Any) -> Any:
            if isinstance(self, UnaryConnection):
                entered.append(_name)
            return _of_h2(self, *given, **named)

        monkeypatch.setattr(H2Connection, name, spy)
    asked, answered = call(client, server, 3)
    assert asked == [RequestReceived, DataReceived, StreamEnded]
    assert answered == [ResponseReceived, DataReceived, TrailersReceived, StreamEnded]
    assert entered == []


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    """RFC 9113, 4.1."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + number.to_bytes(4) + payload


DATA, HEADERS, RST_STREAM, CONTINUATION = 0, 1, 3, 9
END_STREAM, END_HEADERS, PADDED, PRIORITY = 1, 4, 8, 0x20
POST = b"\x83\x86"
"""`:method: POST` and `:scheme: http`, by their indexes in HPACK's static table."""
BEGUN = frame(HEADERS, END_HEADERS, 3, POST)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([frame(HEADERS, END_HEADERS, 4, POST)], id="even-stream"),
        pytest.param([frame(HEADERS, END_HEADERS, 0, POST)], id="no-stream"),
        pytest.param([frame(HEADERS, END_HEADERS, 1, POST)], id="stream-that-is-over"),
        pytest.param([frame(HEADERS, END_HEADERS, 5, POST), BEGUN], id="stream-that-was-left-out"),
        pytest.param([frame(HEADERS, END_HEADERS | END_STREAM, 3, POST)], id="request-without-message"),
        pytest.param([frame(HEADERS, END_HEADERS, 0x8000_0003, POST)], id="reserved-bit"),
        pytest.param([frame(HEADERS, END_HEADERS | PADDED, 3, b"\1" + POST + b"\0")], id="padded-headers"),
        pytest.param([frame(HEADERS, END_HEADERS | PRIORITY, 3, bytes(5) + POST)], id="with-priority"),
        pytest.param(
            [frame(HEADERS, 0, 3, POST[:1]), frame(CONTINUATION, END_HEADERS, 3, POST[1:])],
            id="in-two-frames",
        ),
        pytest.param([frame(HEADERS, 0, 3, POST), frame(DATA, END_STREAM, 1, b"d")], id="data-amid-headers"),
        pytest.param([frame(HEADERS, 0, 3, POST), frame(HEADERS, END_HEADERS, 5, POST)], id="headers-amid"),
        pytest.param([BEGUN, frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x83")], id="trailers"),
        pytest.param([BEGUN, frame(HEADERS, END_HEADERS, 3, POST)], id="headers-twice"),
        pytest.param([BEGUN, frame(DATA, 0, 3, b"d"), frame(DATA, END_STREAM, 3, b"e")], id="two-messages"),
        pytest.param([BEGUN, frame(DATA, END_STREAM | PADDED, 3, b"\1de\0")], id="padded-data"),
        pytest.param([BEGUN, frame(DATA, END_STREAM, 3, b"d"), frame(DATA, 0, 3, b"d")], id="data-after-end"),
        pytest.param([BEGUN, frame(DATA, END_STREAM, 3, bytes(16_384))], id="largest-frame"),
        pytest.param([BEGUN, frame(DATA, END_STREAM, 3, bytes(16_385))], id="too-large"),
        pytest.param([BEGUN, *[frame(DATA, 0, 3, bytes(16_384))] * 4], id="beyond-the-window"),
        pytest.param([frame(DATA, END_STREAM, 7, b"d")], id="data-of-no-stream"),
        pytest.param([frame(HEADERS, END_HEADERS, number, POST) for number in (3, 5, 7)], id="three-at-once"),
    ],
)
@pytest.mark.parametrize("piece", [1, 8, 11, 10**6])
def test_what_is_not_as_usual_is_left_to_h2(
    connected: tuple[Twins, Twins], frames: list[bytes], piece: int
) -> None:
    client, server = connected
    call(client, server, 1)
    server.do(lambda connection: connection.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2}))
    carry(server, client)
    carry(client, server)  # who acknowledges it
    data = b"".join(frames)
    for begin in range(0, len(data), piece):
        server.receive(data[begin : begin + piece])


OK = b"\x88"
"""`:status: 200`, also by its index."""
CONTINUE = b"\x08\x03100"
LENGTH_5 = b"\x0f\x0d\x015"
"""`content-length: 5`."""
ANSWERED = frame(HEADERS, END_HEADERS, 3, OK)
ENDED = frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x00\x0bgrpc-status\x010")


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([ANSWERED, frame(DATA, 0, 3, b"a"), ENDED], id="as-usual"),
        pytest.param([ENDED], id="trailers-only"),
        pytest.param([ANSWERED, ENDED], id="no-message"),
        pytest.param([frame(DATA, 0, 3, b"a")], id="data-before-headers"),
        pytest.param([ANSWERED, ANSWERED], id="headers-twice"),
        pytest.param([ANSWERED, frame(DATA, END_STREAM, 3, b"a")], id="no-trailers"),
        pytest.param([ANSWERED, ENDED, ENDED], id="trailers-twice"),
        pytest.param([ANSWERED, ENDED, frame(DATA, 0, 3, b"a")], id="data-after-end"),
        pytest.param([frame(HEADERS, END_HEADERS, 3, CONTINUE), ANSWERED, ENDED], id="informational"),
        pytest.param([frame(HEADERS, END_HEADERS | END_STREAM, 3, CONTINUE)], id="informational-end"),
        pytest.param(
            [frame(HEADERS, END_HEADERS, 3, OK + LENGTH_5), frame(DATA, 0, 3, b"12345"), ENDED], id="length"
        ),
        pytest.param(
            [frame(HEADERS, END_HEADERS, 3, OK + LENGTH_5), frame(DATA, 0, 3, b"123456")],
            id="longer-than-said",
        ),
        pytest.param([frame(HEADERS, END_HEADERS, 5, OK)], id="stream-that-nobody-opened"),
        pytest.param([frame(RST_STREAM, 0, 3, bytes(4)), ANSWERED], id="answer-after-reset"),
        pytest.param([ANSWERED, frame(RST_STREAM, 0, 3, bytes(4)), ENDED], id="trailers-after-reset"),
    ],
)
@pytest.mark.parametrize("asked", ["whole", "half", "reset"])
@pytest.mark.parametrize("piece", [1, 11, 10**6])
def test_an_answer_of_any_kind(
    connected: tuple[Twins, Twins], frames: list[bytes], asked: str, piece: int
) -> None:
    client, server = connected
    call(client, server, 1)
    client.do(lambda connection: connection.send_headers(3, REQUEST))
    client.do(lambda connection: connection.send_data(3, b"request", end_stream=asked == "whole"))
    if asked == "reset":
        client.do(lambda connection: connection.reset_stream(3))
    data = b"".join(frames)
    for begin in range(0, len(data), piece):
        client.receive(data[begin : begin + piece])
    client.do(lambda connection: connection.send_data(3, b"more", end_stream=True))


Action = tuple[str, Callable[[H2Connection], Any]]
"""`client` or `server`, and what it does with stream 3 or 5."""


def headers(side: str, sent: Headers, *, end: bool = False, number: int = 3) -> Action:
    return side, lambda connection: connection.send_headers(number, sent, end_stream=end)


def data(side: str, size: int, *, end: bool = False) -> Action:
    return side, lambda connection: connection.send_data(3, b"d" * size, end_stream=end)


def opened(side: str, size: int, number: int | None = None) -> Action:
    return side, lambda connection: connection.increment_flow_control_window(size, number)


def read_of_no_stream(connection: H2Connection) -> None:
    connection.acknowledge_received_data(1, 9)


def reset_and_read(connection: H2Connection) -> None:
    connection.reset_stream(3)
    connection.acknowledge_received_data(40_000, 3)


LONG = ("grpc-message", "y" * 17_000)
ASKED = [headers("client", REQUEST), data("client", 5, end=True)]


@pytest.mark.parametrize(
    "actions",
    [
        pytest.param([headers("client", REQUEST, number=4)], id="even-stream"),
        pytest.param(
            [headers("client", REQUEST, number=5), headers("client", REQUEST)], id="stream-left-out"
        ),
        pytest.param([headers("client", REQUEST, number=1)], id="stream-that-is-over"),
        pytest.param([headers("client", [*REQUEST, LONG]), data("client", 5, end=True)], id="long-request"),
        pytest.param([headers("client", [*REQUEST, LONG], end=True)], id="long-request-without-message"),
        pytest.param([*ASKED, data("client", 5)], id="data-after-the-end"),
        pytest.param([*ASKED, headers("client", TRAILERS, end=True)], id="trailers-after-the-end"),
        pytest.param(
            [
                headers("client", [(":method", "HEAD")]),
                data("client", 0, end=True),
                headers("server", ANSWER),
                data("server", 5),
            ],
            id="an-answer-to-head",
        ),
        pytest.param([*ASKED, data("server", 5)], id="data-before-headers"),
        pytest.param(
            [*ASKED, headers("server", ANSWER), headers("server", ANSWER, end=True)], id="status-twice"
        ),
        pytest.param([*ASKED, headers("server", ANSWER), headers("server", TRAILERS)], id="open-trailers"),
        pytest.param(
            [
                *ASKED,
                headers("server", ANSWER),
                headers("server", TRAILERS),
                headers("server", TRAILERS, end=True),
            ],
            id="trailers-twice",
        ),
        pytest.param(
            [*ASKED, headers("server", ANSWER), headers("server", [*TRAILERS, LONG], end=True)],
            id="long-trailers",
        ),
        pytest.param([*ASKED, headers("server", TRAILERS, end=True), data("server", 1)], id="trailers-only"),
        pytest.param(
            [*ASKED, headers("server", ANSWER), headers("server", [(":status", "103")], end=True)],
            id="trailers-with-a-status",
        ),
        pytest.param(
            [*ASKED, headers("server", [(":status", "103")]), headers("server", ANSWER)], id="informational"
        ),
        pytest.param(
            [headers("client", REQUEST), headers("server", ANSWER, end=True), data("client", 5, end=True)],
            id="an-early-end",
        ),
        pytest.param(
            [
                headers("client", REQUEST),
                headers("server", ANSWER, end=True),
                headers("client", TRAILERS, end=True),
            ],
            id="trailers-after-an-early-end",
        ),
        pytest.param(
            [opened("server", 100_000), headers("client", REQUEST), *[data("client", 16_384)] * 5],
            id="beyond-the-stream's-window",
        ),
        pytest.param(
            [headers("client", REQUEST), opened("server", 100_000, 3), *[data("client", 16_384)] * 5],
            id="beyond-the-connection's-window",
        ),
        pytest.param([*ASKED, ("server", reset_and_read)], id="read-after-a-reset"),
        pytest.param([*ASKED, ("server", read_of_no_stream)], id="read-of-no-stream"),
    ],
)
@pytest.mark.parametrize("arrives", ["each", "all", "unchecked"])
def test_what_is_not_sent_as_usual_is_left_to_h2(
    connected: tuple[Twins, Twins], actions: list[Action], arrives: str
) -> None:
    """`unchecked`: data that the sender's own window has no room for arrives all the same."""
    client, server = connected
    call(client, server, 1)
    for side, action in actions:
        sender, receiver = (client, server) if side == "client" else (server, client)
        sender.do(action)
        if arrives != "all":
            carry(sender, receiver)
        if arrives == "unchecked":
            server.receive(frame(DATA, 0, 3, bytes(16_000)))
    carry(client, server)
    carry(server, client)


@pytest.mark.parametrize("widened", [None, 3])
def test_more_than_the_other_window_has_room_for(connected: tuple[Twins, Twins], widened: int | None) -> None:
    """The connection's window is opened wide, and the stream's is not; and the other way round."""
    client, server = connected
    call(client, server, 1)
    client.do(lambda connection: connection.send_headers(3, REQUEST))
    carry(client, server)
    server.do(lambda connection: connection.increment_flow_control_window(100_000, widened))
    for _ in range(5):
        server.receive(frame(DATA, 0, 3, bytes(16_000)))
    assert server.is_broken


@pytest.mark.parametrize("read", [32_760, 32_766, 32_767, 32_768, 1_000, 1_024, 1_025, 65_528])
@pytest.mark.parametrize("sent", [65_528, 65_000])
@pytest.mark.parametrize("widened", [None, 0, 3])
def test_windows_are_opened_again_when_h2_would(
    connected: tuple[Twins, Twins], sent: int, read: int, widened: int | None
) -> None:
    """65,528 bytes are all that is left after a first call of 7."""
    client, server = connected
    call(client, server, 1)
    client.do(lambda connection: connection.send_headers(3, REQUEST))
    carry(client, server)
    if widened is not None:
        server.do(lambda connection: connection.increment_flow_control_window(100_000, widened or None))
        carry(server, client)
    for size in (*[16_000] * 4, sent - 64_000):
        client.do(lambda connection, size=size: connection.send_data(3, b"d" * size))
    carry(client, server)
    server.do(lambda connection: connection.acknowledge_received_data(min(sent, read), 3))
    server.do(lambda connection: connection.acknowledge_received_data(0, 3))


@pytest.mark.parametrize("piece", [1, 8, 11, 30])
def test_an_answer_in_pieces(connected: tuple[Twins, Twins], piece: int) -> None:
    client, server = connected
    call(client, server, 1)
    client.do(lambda connection: connection.send_headers(3, REQUEST))
    client.do(lambda connection: connection.send_data(3, b"request", end_stream=True))
    carry(client, server)
    server.do(lambda connection: connection.send_headers(3, ANSWER))
    server.do(lambda connection: connection.send_data(3, b"answer"))
    server.do(lambda connection: connection.send_headers(3, TRAILERS, end_stream=True))
    data = bytes(server.sent)
    events = [event for at in range(0, len(data), piece) for event in client.receive(data[at : at + piece])]
    assert [event[0] for event in events] == [ResponseReceived, DataReceived, TrailersReceived, StreamEnded]


@pytest.fixture
def ends() -> tuple[UnaryConnection, UnaryConnection]:
    """A client and a server by themselves: nobody counts their streams, at which h2 forgets some."""
    client, server = UnaryConnection(config(True)), UnaryConnection(config(False))
    for side in (client, server):
        side.initiate_connection()
    server.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2**31 - 1})
    exchange(client, server)
    return client, server


def exchange(client: UnaryConnection, server: UnaryConnection) -> None:
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())


def test_calls_that_are_over_leave_no_stream_behind(ends: tuple[UnaryConnection, UnaryConnection]) -> None:
    client, server = ends
    for number in range(1, 2_001, 2):
        client.send_headers(number, REQUEST)
        client.send_data(number, b"request", end_stream=True)
        exchange(client, server)
        server.send_headers(number, ANSWER)
        server.send_data(number, b"answer")
        server.send_headers(number, TRAILERS, end_stream=True)
        exchange(client, server)
        # The first call's frames are h2's own, which forgets its stream with the next one.
        assert not client.streams.keys() - {1}
        assert not server.streams.keys() - {1}
    assert len(closed_streams(client)) <= H2Connection.MAX_CLOSED_STREAMS


def test_calls_that_were_broken_off_leave_no_streams_behind(
    ends: tuple[UnaryConnection, UnaryConnection],
) -> None:
    """Also where the peer limits nothing: h2 forgets them when it counts the open ones, for which it is not asked."""
    client, server = ends
    for number in range(1, 2_001, 2):
        client.send_headers(number, REQUEST)
        exchange(client, server)
        client.reset_stream(number)
        exchange(client, server)
        assert max(len(client.streams), len(server.streams)) <= 300
    assert not any(stream.open for side in ends for stream in side.streams.values())


def test_headers_that_are_no_text_break_the_connection_and_not_the_process(
    connected: tuple[Twins, Twins],
) -> None:
    client, server = connected
    call(client, server, 1)
    block = client.quick.encoder.encode([(b":method", b"POST"), (b"x", b"\xff\xfe")])
    with pytest.raises(ProtocolError):
        server.quick.receive_data(len(block).to_bytes(3) + b"\x01\x04\x00\x00\x00\x03" + block)
    assert server.quick.data_to_send().endswith(ErrorCodes.PROTOCOL_ERROR.to_bytes(4))
