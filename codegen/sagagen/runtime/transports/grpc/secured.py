"""What a gRPC server needs for TLS: today's context, and whom it lets call."""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

from grpclib.events import RecvRequest, listen
from grpclib.server import Server

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.transports.grpc.refusing import as_grpc
from sagagen.runtime.trust.accepting import Handshakes
from sagagen.runtime.trust.callers import Callers
from sagagen.runtime.trust.rereading import Certificates


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Of one service."""

    certificates: Certificates
    callers: Callers

    def handshakes(self, protocol: Callable[[], asyncio.Protocol]) -> Handshakes:
        return Handshakes(lambda: self.certificates.current.server, protocol)

    @property
    def context(self) -> ssl.SSLContext:
        """For a server that keeps the one that it was given: each handshake goes on with today's."""
        context = self.certificates.folder.read().server
        context.sni_callback = self._change_context
        return context

    def _change_context(self, end: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        end.context = self.certificates.current.server

    def judge_calls_of(self, server: Server) -> None:
        """Call by call, for a server that tells of no connections."""
        listen(server, RecvRequest, self._judge)

    async def _judge(self, event: RecvRequest) -> None:
        address = event.peer.addr()
        found = self.callers.judged(event.peer.cert(), f"{address[0]}:{address[1]}" if address else "")
        if not isinstance(found, RpcError) and found.expires_s <= time.time():
            found = self.callers.expired(found)
        if isinstance(found, RpcError):
            raise as_grpc(found)
