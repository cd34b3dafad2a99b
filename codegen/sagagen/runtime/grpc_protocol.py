"""grpclib's HTTP/2 connection, of either side, with compiled headers and one write for what is sent at once."""

import asyncio
from typing import Any, cast

from grpclib.protocol import H2Protocol

from sagagen.runtime.grpc_headers import compile_headers

_TYPE, _FLAGS = 3, 4
"""Where they stand in a frame (RFC 9113, 4.1)."""
_HEADERS = 1
"""DATA is 0."""
_END_STREAM = 1


class MeshProtocol(H2Protocol):
    """One connection."""

    @classmethod
    def instead_of(cls, protocol: H2Protocol) -> "MeshProtocol":
        """The same as one of grpclib's that is not connected yet."""
        return cls(protocol.handler, protocol.config, protocol.h2_config)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        collected = CollectedWrites(cast(asyncio.Transport, transport))
        super().connection_made(cast(asyncio.BaseTransport, collected))  # settings, which have no headers
        compile_headers(self.connection._connection)  # pyright: ignore[reportPrivateUsage]


class CollectedWrites:
    """A transport that sends a request, or an answer, in one write.

    grpclib writes each frame by itself: two for a request, three for an answer. Each would be a system call, a packet,
    and a turn of the other side's event loop. What ends no stream waits until the event loop turns, and no longer.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._frames: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._frames.append(data)
        if _ends_stream(data):
            self._send()
        elif len(self._frames) == 1:
            self._loop.call_soon(self._send)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        frames, self._frames = self._frames, []
        if frames and not self._transport.is_closing():
            self._transport.write(b"".join(frames))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _ends_stream(frame: bytes) -> bool:
    """A request or an answer is whole with it: DATA or HEADERS with END_STREAM (RFC 9113, 6.1 and 6.2)."""
    return frame[_TYPE] <= _HEADERS and bool(frame[_FLAGS] & _END_STREAM)
