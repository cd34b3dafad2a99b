"""A service reached over TLS by connections that are renewed while calls go on.

A new connection is made when this process's certificates change, before the server's expires, and every few minutes. It
is tried by a call that has no effect, since a client learns only by an answer that its certificate was accepted. If it
works, calls go over it from then on, and the old one ends with its last call; otherwise the old one stays.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import uniform
from types import TracebackType
from typing import Self

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.transport import Reply, Transport
from sagagen.runtime.transports.grpc.client import ClientTls, GrpcTransport
from sagagen.runtime.trust.callers import CALLER_REFUSED
from sagagen.runtime.trust.folder import Credentials
from sagagen.runtime.trust.mesh import MeshTrust

RENEW_S = 300.0
"""Time in seconds after which a connection is renewed at the latest."""
LOOK_S = 1.0
"""Time in seconds between two looks whether it is time, and two tries."""
BEFORE_S = 5.0
"""How long before a server's certificate expires its connection is renewed, in seconds."""
TRY_S = 2.0
"""How long a new connection's first call may take, in seconds."""
_PROBE = "/grpc.health.v1.Health/Check"
_OF_NO_SERVICE = b"\n\x01-"
"""HealthCheckRequest(service="-"): the answer is that there is none, and no database is asked for it."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Line:
    """One connection."""

    transport: GrpcTransport
    credentials: Credentials
    """By which it was made."""
    due_at_s: float
    """On the monotonic clock."""
    calls: int = 0
    is_old: bool = False
    is_lost: bool = False
    """Its last call got no answer."""

    def retire(self) -> None:
        self.is_old = True
        if not self.calls:
            self.transport.close()


class RenewingTransport:
    """Implements Transport.

    Where a service refuses this caller, calls end as UNAVAILABLE: that is the mesh's matter, which somebody will mend,
    and no answer to what was asked.
    """

    def __init__(
        self,
        host: str,
        port: int,
        service: str,
        trust: MeshTrust,
        *,
        signed: Callable[[Transport], Transport] = lambda plain: plain,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """`signed`: a transport whose calls the service takes, over one of these; for the call that tries it."""
        self._signed = signed
        self._host, self._port, self._service, self._trust = host, port, service, trust
        self._wall_s = wall_s
        self._problem = ""
        self._line = self._new()
        self._old: set[_Line] = set()

    async def __aenter__(self) -> Self:
        self._renewing = asyncio.create_task(self._renew(), name=f"renew connections to {self._service}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._renewing.cancel()
        await asyncio.wait({self._renewing})
        for line in (self._line, *self._old):
            line.transport.close()

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        """As Transport says."""
        line = self._line
        line.calls += 1
        try:
            reply = await line.transport.call(path, request, metadata=metadata, timeout_s=timeout_s)
        except RpcError as error:
            line.is_lost = error.code is Code.UNAVAILABLE
            if is_refused_as_caller(error):
                raise RpcError(
                    Code.UNAVAILABLE, error.message, reason=CALLER_REFUSED, domain=DOMAIN
                ) from error
            raise
        else:
            line.is_lost = False
            return reply
        finally:
            line.calls -= 1
            if line.is_old and not line.calls:
                self._old.discard(line)
                line.transport.close()

    def _new(self) -> _Line:
        credentials = self._trust.certificates.current
        assert credentials.client is not None, "these are certificates of the mesh"
        transport = GrpcTransport(self._host, self._port, ClientTls(credentials.client, self._service))
        return _Line(transport, credentials, time.monotonic() + uniform(0.8, 1.0) * RENEW_S)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if not self._is_due():
                continue
            line = self._new()
            try:
                await self._put_in_place(line)
            finally:
                if self._line is not line:
                    line.transport.close()

    async def _put_in_place(self, line: _Line) -> None:
        problem = await _tried(self._signed(line.transport))
        if problem and not (self._line.is_lost or self._is_expired()):
            if problem != self._problem:
                _logger.warning(
                    "a connection can't be renewed: the one before stays",
                    service=self._service,
                    problem=problem,
                )
            self._problem = problem
            return
        self._problem = ""
        before, self._line = self._line, line
        if before.credentials is not line.credentials:
            _logger.info("calls go by the new certificates", service=self._service)
        if before.calls:
            self._old.add(before)
        before.retire()

    def _is_due(self) -> bool:
        is_stale = self._line.credentials is not self._trust.certificates.current
        return is_stale or time.monotonic() >= self._line.due_at_s or self._left_s() <= BEFORE_S

    def _is_expired(self) -> bool:
        return self._left_s() <= 0

    def _left_s(self) -> float:
        """Of the life of the certificate that the service has shown."""
        expires_s = self._line.credentials.expiries_s.get(self._service)
        return float("inf") if expires_s is None else expires_s - self._wall_s()


def is_refused_as_caller(error: RpcError) -> bool:
    return error.is_ours and error.reason == CALLER_REFUSED


async def _tried(transport: Transport) -> str:
    """What is wrong with a new connection; empty if it carries calls, whatever their answers."""
    try:
        await transport.call(_PROBE, _OF_NO_SERVICE, metadata={}, timeout_s=TRY_S)
    except RpcError as error:
        if error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED) or is_refused_as_caller(error):
            return error.message or error.code.name
    return ""
