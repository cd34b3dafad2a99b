"""grpclib's connection and streams, which keep what has come in a deque.

In grpclib's asyncio.Queue every message of a unary call passes some twenty functions, for a wait that it hardly needs.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from grpclib.config import Configuration
from grpclib.protocol import Buffer, Connection, Stream
from grpclib.utils import Wrapper
from h2.connection import H2Connection


class Incoming:
    """The data of a stream that have come and were not read yet; does what grpclib's Buffer does.

    Only what is read is acknowledged, so that a peer sends no more than its window allows.
    """

    def __init__(self, acknowledge: Callable[[int], None]) -> None:
        """`acknowledge` is told the bytes that flow control counts for what is read: the data, and their padding."""
        self._acknowledge = acknowledge
        self._came: deque[tuple[bytes, int]] = deque()
        """As they came; each with what flow control counts."""
        self._taken: deque[memoryview] = deque()
        """Acknowledged; the rest of a frame that was read in part."""
        self._taken_bytes = 0
        self._is_over = False
        self._waiting: asyncio.Future[None] | None = None
        """Of the one that reads."""

    def add(self, data: bytes, ack_size: int) -> None:
        """As they come. An empty frame says nothing; that the stream ends is said by `eof`."""
        if ack_size:
            self._came.append((data, ack_size))
            self._wake()

    def eof(self) -> None:
        """Nothing else will come."""
        self._is_over = True
        self._wake()

    async def read(self, size: int) -> bytes:
        """Wait for so many bytes; empty if the stream ends before them. Raises AssertionError if it ends amid them."""
        while self._taken_bytes < size and (self._came or await self._has_more()):
            data, ack_size = self._came.popleft()
            self._taken.append(memoryview(data))
            self._taken_bytes += len(data)
            self._acknowledge(ack_size)
        if not self._taken_bytes:
            return b""
        if self._taken_bytes < size:
            raise AssertionError("Received less data than expected")
        return self._cut(size)

    def unacked_size(self) -> int:
        """What flow control counts for all that was not read, and will not be."""
        size = sum(ack_size for _, ack_size in self._came) if self._came else 0
        self._came.clear()
        return size

    async def _has_more(self) -> bool:
        while not self._came and not self._is_over:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return bool(self._came)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _cut(self, size: int) -> bytes:
        self._taken_bytes -= size
        parts: list[memoryview] = []
        while size:
            part = self._taken.popleft()
            if len(part) > size:
                self._taken.appendleft(part[size:])
                part = part[:size]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class MeshStream(Stream):
    """A stream of a MeshConnection."""

    def init_stream(self, stream_id: int, connection: Connection) -> None:
        self.id = stream_id
        self.buffer = cast(Buffer, Incoming(partial(connection.ack, stream_id)))
        connection.streams_started += 1
        self.created = connection.last_stream_created = time.monotonic()


class MeshConnection(Connection):
    """One connection, of either side."""

    def __init__(self, h2: H2Connection, transport: Any, *, config: Configuration) -> None:
        super().__init__(h2, transport, config=config)
        self._parts = h2, transport
        self._is_closed = False

    def create_stream(self, *, stream_id: int | None = None, wrapper: Wrapper | None = None) -> Stream:
        """Raises ConnectionError once it is closed."""
        if self._is_closed:
            raise ConnectionResetError("the connection is closed")
        return MeshStream(self, *self._parts, stream_id=stream_id, wrapper=wrapper)

    def close(self) -> None:
        self._is_closed = True
        super().close()
