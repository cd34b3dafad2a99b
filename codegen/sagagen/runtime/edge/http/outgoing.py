"""What is on its way to a client: in as few writes as it takes, and not for ever."""

import asyncio
from typing import Any

from sagagen.runtime.taken import Taken, unsent_bytes

_JOINED_BYTES = 32 * 1024
"""More than that is written by itself, since joining it to its head would copy it."""


class Outgoing:
    """A transport that sends an answer's head together with what follows it, and aborts where that is not taken.

    Uvicorn writes head and body one by one, and each write is a system call and a packet.
    """

    def __init__(self, transport: asyncio.Transport, taken_within_s: float) -> None:
        self._transport = transport
        self._head = b""
        self.taken = Taken(transport, taken_within_s)

    def write(self, data: bytes) -> None:
        if not self._head and data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            asyncio.get_running_loop().call_soon(self._send)  # where no body follows at once
        elif len(data) > _JOINED_BYTES:
            self._send()
            self._send(data)
        else:
            self._send(data)

    def close(self) -> None:
        """Once all is taken."""
        self._send()
        self._transport.close()
        if unsent_bytes(self._transport):
            self.taken.await_peer()

    def _send(self, data: bytes = b"") -> None:
        data, self._head = self._head + data if self._head else data, b""
        if data and not self._transport.is_closing():
            self.taken.written_bytes += len(data)
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
