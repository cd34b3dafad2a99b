"""What is on its way to a client: in as few writes as it takes, and not for ever.

A client that takes nothing keeps its connection, and what was written to it, until somebody ends that: closing a
transport waits until all of it is taken.
"""

import asyncio
from typing import Any

MIN_TAKEN_BYTES = 64 * 1024
"""Within each wait for the client; or all that there is. At 30 s it is a modem's speed of thirty years ago."""
_JOINED_BYTES = 32 * 1024
"""More than that is written by itself, since joining it to its head would copy it."""


class Outgoing:
    """A transport that sends an answer's head together with what follows it, and aborts where that is not taken.

    Uvicorn writes head and body one by one, and each write is a system call and a packet.
    """

    def __init__(self, transport: asyncio.Transport, taken_within_s: float) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._head = b""
        self._taken_within_s = taken_within_s
        self._written_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        if not self._head and data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            self._loop.call_soon(self._send)  # where no body follows at once
        elif len(data) > _JOINED_BYTES:
            self._send()
            self._send(data)
        else:
            self._send(data)

    def close(self) -> None:
        """Once all is taken."""
        self._send()
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self.await_client()

    def await_client(self) -> None:
        """The client is behind: from now on it has to take what is sent, piece by piece."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._taken_within_s, self._look, self._taken_bytes)

    def stop_waiting(self) -> None:
        """The client has caught up, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _taken_bytes(self) -> int:
        return self._written_bytes - self._transport.get_write_buffer_size()

    def _look(self, taken_before: int) -> None:
        self._timer = None
        if not self._transport.get_write_buffer_size():
            return
        if self._taken_bytes - taken_before < MIN_TAKEN_BYTES:
            self._transport.abort()
        else:
            self.await_client()

    def _send(self, data: bytes = b"") -> None:
        data, self._head = self._head + data if self._head else data, b""
        if data and not self._transport.is_closing():
            self._written_bytes += len(data)
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
