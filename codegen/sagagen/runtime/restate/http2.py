"""A server for HTTP/2 without TLS, as small as Restate needs it: streams that are read while they are written.

What all streams of a connection send in one turn of the event loop leaves in one write.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes

Headers = Sequence[tuple[str, str]]
WINDOW = 2**24
"""Bytes that a peer may send before it is told that they were read."""
STREAMS = 10_000
"""Streams that one connection may have at once."""


class Stream:
    """A request and its response."""

    def __init__(self, connection: "_Connection", number: int, headers: Headers) -> None:
        self.headers = headers
        self._connection = connection
        self._number = number
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._take: Callable[[bytes | None], None] = self._chunks.put_nowait
        self.can_send = asyncio.Event()

    @property
    def path(self) -> str:
        return next(value for name, value in self.headers if name == ":path")

    async def read(self) -> bytes | None:
        """The next part of the body; None after the last."""
        return await self._chunks.get()

    def give_to(self, take: Callable[[bytes | None], None]) -> None:
        """From now on `take` is given each part of the body as it comes, and None after the last; nobody reads."""
        self._take = take
        while not self._chunks.empty():
            take(self._chunks.get_nowait())

    def fed(self, chunk: bytes | None) -> None:
        self._take(chunk)

    def respond(self, status: int, headers: Headers) -> None:
        self._connection.send_headers(self._number, [(":status", str(status)), *headers])

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError if the peer has gone."""
        await self._connection.send_data(self._number, self, data)

    def end(self) -> None:
        self._connection.end(self._number)

    def reset(self) -> None:
        self._connection.reset(self._number)


Serve = Callable[[Stream], Awaitable[None]]
Frames = Callable[[H2Configuration], H2Connection]
"""Reads and writes the frames of a connection."""


class _Connection(asyncio.Protocol):
    """One connection: a task for each of its streams, which is cancelled if the peer gives the stream up."""

    def __init__(self, serve: Serve, connections: "set[_Connection]", frames: Frames) -> None:
        self._serve = serve
        self._connections = connections
        self._h2 = frames(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._streams: dict[int, tuple[Stream, asyncio.Task[None]]] = {}
        self._is_lost = False
        self._will_write = False
        self._call_soon = asyncio.get_running_loop().call_soon

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not by name
        self._connections.add(self)
        self._h2.initiate_connection()
        self._h2.update_settings(
            {SettingCodes.INITIAL_WINDOW_SIZE: WINDOW, SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS}
        )
        self._h2.increment_flow_control_window(WINDOW)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._connections.discard(self)
        for stream, task in self._streams.values():
            stream.can_send.set()
            task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._on(event)
        except ProtocolError:
            self._write()
            self._transport.close()
            return
        self._flush()

    def _on(self, event: Event) -> None:
        match event:
            case DataReceived(stream_id=int(number), data=data, flow_controlled_length=length):
                if length:
                    with suppress(StreamClosedError):
                        self._h2.acknowledge_received_data(length, number)
                if data and (found := self._streams.get(number)):
                    found[0].fed(bytes(data))
            case RequestReceived(stream_id=int(number), headers=headers):
                stream = Stream(self, number, [(str(name), str(value)) for name, value in headers or ()])
                task = asyncio.create_task(self._run(number, stream), name="attempt")
                self._streams[number] = stream, task
            case StreamEnded(stream_id=int(number)):
                if number in self._streams:
                    self._streams[number][0].fed(None)
            case StreamReset(stream_id=int(number)):
                if number in self._streams:
                    self._streams[number][1].cancel()
            case WindowUpdated():
                for stream, _ in self._streams.values():
                    stream.can_send.set()
            case ConnectionTerminated():
                self._transport.close()
            case _:
                pass

    async def _run(self, number: int, stream: Stream) -> None:
        try:
            await self._serve(stream)
        finally:
            self._streams.pop(number, None)

    def send_headers(self, number: int, headers: Headers) -> None:
        with suppress(ProtocolError):
            self._h2.send_headers(number, headers)
        self._flush()

    async def send_data(self, number: int, stream: Stream, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._is_lost:
                raise ConnectionResetError
            try:
                room = min(
                    self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size, len(view)
                )
                if room > 0:
                    self._h2.send_data(number, bytes(view[:room]))
            except ProtocolError as error:
                raise ConnectionResetError from error
            if room > 0:
                view = view[room:]
                self._flush()
            else:
                stream.can_send.clear()
                await stream.can_send.wait()

    def end(self, number: int) -> None:
        with suppress(ProtocolError):
            self._h2.send_data(number, b"", end_stream=True)
        self._flush()

    def reset(self, number: int) -> None:
        with suppress(ProtocolError):
            self._h2.reset_stream(number, ErrorCodes.CANCEL)
        self._flush()

    def close(self) -> None:
        self._h2.close_connection()
        self._write()
        self._transport.close()

    def _flush(self) -> None:
        if not self._will_write:
            self._will_write = True
            self._call_soon(self._write)

    def _write(self) -> None:
        self._will_write = False
        if (data := self._h2.data_to_send()) and not self._is_lost:
            self._transport.write(data)


class Http2Server:
    """Listens, and gives each stream to `serve`. Raises OSError where the address is taken."""

    def __init__(self, serve: Serve, host: str, port: int, frames: Frames = H2Connection) -> None:
        self._serve = serve
        self._frames = frames
        self._host = host
        self._port = port
        self._connections: set[_Connection] = set()

    async def __aenter__(self) -> "Http2Server":
        make = lambda: _Connection(self._serve, self._connections, self._frames)  # noqa: E731
        self._server = await asyncio.get_running_loop().create_server(make, self._host, self._port)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def stop_listening(self) -> None:
        self._server.close()

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.close()
