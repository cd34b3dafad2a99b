"""The server's side of a TLS handshake: with the certificates of today, for so long and so many at a time.

Servers that are given a context listen with it for good, wait a minute for each handshake and do not count those that
never end. So a listener takes connections as they are, and what comes in is handed on to `connect_accepted_socket`,
which does the handshake. The protocol that was meant is made once it is over, and sees nothing of it.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import structlog

from sagagen.runtime.trust.callers import Sparingly
from sagagen.runtime.trust.explaining import explained

HANDSHAKE_S = 10.0
"""How long a handshake may take, in seconds."""
SHUTDOWN_S = 10.0
"""How long a peer may take for the last that is sent, and to say that it ends the connection too, in seconds."""
MAX_HANDSHAKES = 256
"""At a time, of one listener. One more ends the oldest: one that is meant takes milliseconds."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
_warnings = Sparingly()


class Handshakes:
    """Of one listener."""

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        """`context`: the one of today. `protocol`: what speaks once the handshake is over."""
        self._context = context
        self._protocol = protocol
        self._open: dict[asyncio.Task[None], None] = {}
        """In the order in which they began."""

    def __len__(self) -> int:
        return len(self._open)

    def accept(self) -> asyncio.Protocol:
        """A protocol factory, for `loop.create_server`."""
        return _Accepted(self)

    def close(self) -> None:
        """End those that are not over."""
        for task in tuple(self._open):
            task.cancel()

    def begin(self, sock: socket.socket) -> None:
        if len(self._open) >= MAX_HANDSHAKES:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.cancel()
            _warnings.warn("handshakes are given up: there are too many at a time", "", limit=MAX_HANDSHAKES)
        task = asyncio.get_running_loop().create_task(self._shake_hands(sock), name="TLS handshake")
        self._open[task] = None
        task.add_done_callback(lambda done: self._open.pop(done, None))

    async def _shake_hands(self, sock: socket.socket) -> None:
        address = _address(sock)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                sock,
                ssl=self._context(),
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except OSError as error:  # SSLError is one; so are those of a peer that has gone
            sock.close()
            if isinstance(error, ssl.SSLError):
                _warnings.warn(
                    "a TLS handshake failed",
                    address.rpartition(":")[0],
                    address=address,
                    reason=explained(error),
                )
            else:
                _logger.debug("a TLS handshake was not finished", address=address, reason=repr(error))
        except BaseException:
            with suppress(OSError):
                sock.close()
            raise


class _Accepted(asyncio.Protocol):
    """A connection as the listener made it: its socket goes on to the handshake, and nothing is read before."""

    def __init__(self, handshakes: Handshakes) -> None:
        self._handshakes = handshakes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A transport can be given no other beginning: uvloop has read the client's first words by the time that
        # start_tls would take over. A second descriptor of the same socket has them all.
        raw = cast(asyncio.Transport, transport)
        try:
            sock = cast(socket.socket, raw.get_extra_info("socket")).dup()
        except OSError as error:  # no descriptors left
            _warnings.warn("a connection is refused", "", reason=error.strerror)
            raw.abort()
            return
        sock.setblocking(False)
        raw.abort()
        self._handshakes.begin(sock)


def _address(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return ""
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else ""
