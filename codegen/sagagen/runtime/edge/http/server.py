"""An HTTP server in this process: uvicorn on httptools, with the limits and time-outs that it does not have itself.

The socket is bound before the server starts, so that a taken port is an error of ours that names it. Signals are the
process's business, not the server's.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import structlog
from starlette.types import ASGIApp
from uvicorn import Config, Server

from sagagen.runtime.edge.exchange import CLOSING, TRUSTS
from sagagen.runtime.edge.http.connections import Connections, Peers
from sagagen.runtime.edge.http.limits import (
    DEFAULT_PATIENCE,
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    MAX_URL_BYTES,
    Limits,
    Patience,
)
from sagagen.runtime.plain import is_plain
from sagagen.runtime.startup import PortTaken

if TYPE_CHECKING:
    from sagagen.runtime.trust.rereading import Certificates

BACKLOG = 1024
KEEP_ALIVE_S = 30
"""Time in seconds that a connection may be idle between two requests."""
STOP_S = 5
"""Time in seconds that requests under way have to end once the server stops; then they are cancelled."""
ABANDON_S = 1
"""Time in seconds that what was cancelled has to end."""


DEFAULT_PEERS = Peers()
Protocols = Callable[..., asyncio.Protocol] | Literal["h11"]
"""What uvicorn makes for each connection."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_DATE_S = 1.0
"""Time in seconds for which the Date header of answers stays the same."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server can be reached."""

    host: str
    port: int
    """The one that was given, or the one that the system chose for port 0."""
    scheme: Literal["http", "https"] = "http"

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@asynccontextmanager
async def serve_http(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    max_body_bytes: int = MAX_BODY_BYTES,
    stop_s: int = STOP_S,
    patience: Patience = DEFAULT_PATIENCE,
    room: Callable[[], int] | None = None,
    peers: Peers = DEFAULT_PEERS,
    tls: "Certificates | None" = None,
) -> AsyncGenerator[Listening]:
    """Serve an ASGI application until the block ends; then idle connections close and requests under way end.

    `room`: how many more writes may begin now; those beyond it are refused before they are read. With `tls` over TLS
    alone.

    Raises PortTaken where another program listens, OSError for an address that is not this machine's.
    """
    with _bound(host, port) as listener:
        protocol = _protocol(patience, peers, room)
        secured = None
        if tls is not None:
            from sagagen.runtime.edge.http.secured import SecuredProtocols

            secured = SecuredProtocols(protocol, tls)
        config = _config(Limits(app, max_body_bytes=max_body_bytes), stop_s, secured or protocol, peers)
        if secured:
            secured.prepare(config)
        server = _Server(config, peers)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name=f"http {host}:{port}")
        try:
            await server.until_started(serving)
            yield Listening(host, listener.getsockname()[1], "https" if tls else "http")
        finally:
            server.stop()
            if secured:
                secured.close()
            await asyncio.wait({serving}, timeout=stop_s + ABANDON_S)
            await server.abandon()
            if not serving.done():
                _logger.error("an HTTP server did not stop in time; it ends with this process", port=port)
                serving.cancel()
        if serving.done():
            serving.result()


@contextlib.contextmanager
def _bound(host: str, port: int) -> Generator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        # Without it a restarted process could not listen while old connections linger in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(BACKLOG)  # two binds may succeed where only one can listen
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(host, port) from error
            raise
        listener.setblocking(False)
        yield listener


def _config(app: ASGIApp, stop_s: int, protocol: Protocols, peers: Peers) -> Config:
    return Config(
        app,
        http=cast(Any, protocol),
        limit_concurrency=peers.max_connections + 1 if is_plain("uvicorn") else None,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=2 * (MAX_URL_BYTES + MAX_HEADER_BYTES),
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=stop_s,
    )


def _protocol(patience: Patience, peers: Peers, room: Callable[[], int] | None) -> Protocols:
    """Uvicorn's own have no end to their waits for a request, and answer what is no HTTP in plain text.

    Of these h11 keeps to the rules: under httptools an offer to upgrade costs a request its body, and trailer fields
    count as headers, without end. They have no door either: the application refuses what is too much.
    """
    if is_plain("uvicorn"):
        return "h11"
    from sagagen.runtime.edge.http.door import Door
    from sagagen.runtime.edge.http.protocol import EdgeProtocol

    door = Door(room) if room else None
    return partial(EdgeProtocol, patience=patience, open_connections=Connections(peers), door=door)


class _Server(Server):
    """Uvicorn's server without its hands on the process's signals."""

    def __init__(self, config: Config, peers: Peers) -> None:
        super().__init__(config)
        self._peers = peers
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state.update({CLOSING: self._closing, TRUSTS: self._peers.trusts})
        await super().startup(sockets)
        self._ready.set_result(None)

    async def main_loop(self) -> None:
        """Uvicorn looks ten times a second whether it should stop; being told, it need only keep the date."""
        if is_plain("uvicorn"):
            await super().main_loop()
            return
        while not self._closing.done():
            await self.on_tick(0)
            await asyncio.wait({self._closing}, timeout=_DATE_S)

    async def until_started(self, serving: "asyncio.Task[None]") -> None:
        """Wait until connections are taken, or serving failed."""
        await asyncio.wait({self._ready, serving}, return_when=asyncio.FIRST_COMPLETED)

    def stop(self) -> None:
        """Begin to stop. A repeat does nothing."""
        self.should_exit = True
        if not self._closing.done():
            self._closing.set_result(None)

    async def abandon(self) -> None:
        """End what did not end in time: uvicorn has cancelled it, but does not wait for it."""
        if tasks := set(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=ABANDON_S)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
