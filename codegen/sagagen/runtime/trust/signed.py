"""The gateway's way to a service that wants to know who calls: each call is signed with the mesh's key.

A service that does not believe this gateway does nothing, and passes no judgement on the saga: one of the two has a
wrong key, or an old one, until a person mends it. So what comes of it is UNAVAILABLE, which is repeated until the
call's own budget is spent, and nothing turns back before that. It is said in the log once, and once more when it is
over.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.metadata import MAC
from sagagen.runtime.rpc.refusals import MacRefusal
from sagagen.runtime.rpc.transport import Reply, Transport

if TYPE_CHECKING:
    from sagagen.runtime.trust.mac import MeshKeys

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

MARGIN_S = 60.0
"""Time in seconds by which the clocks of two machines may differ: so much longer than its time-out a MAC is good."""

_MEANS: Mapping[str, str] = {
    MacRefusal.UNSIGNED: "takes signed calls alone; give this gateway the mesh's key, in SAGAGEN_MESH_KEY",
    MacRefusal.UNKNOWN_KEY: "does not know this gateway's key; both need the same in SAGAGEN_MESH_KEY",
    MacRefusal.ALTERED: "finds that calls of this gateway are altered on their way; what lies between them?",
    MacRefusal.STALE: "takes calls of this gateway for old; compare the clocks of the two machines",
}


class SignedTransport:
    """A transport whose calls are signed; implements Transport. Without keys it calls unsigned, and says what comes."""

    def __init__(
        self,
        inner: Transport,
        service: str,
        keys: "MeshKeys | None",
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.inner = inner
        self._service = service
        self._keys = keys
        self._now_ms = now_ms
        self.problem = ""
        """Why the service does not believe this gateway, as its last answer says; empty if it does."""

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        """As Transport says. UNAVAILABLE, with a reason of MacRefusal, where the service does not believe it."""
        try:
            signed = self._signed(path, request, metadata, timeout_s)
            reply = await self.inner.call(path, request, metadata=signed, timeout_s=timeout_s)
        except RpcError as error:
            if not _is_disbelief(error):
                raise
            # What the file holds now may be what the service knows: then this call is signed anew, and once.
            if error.reason == MacRefusal.UNKNOWN_KEY and self._keys and self._keys.look_again():
                return await self.call(path, request, metadata=metadata, timeout_s=timeout_s)
            raise self._disbelieved(error) from error
        if self.problem:
            _logger.info("a service believes this gateway again", service=self._service)
            self.problem = ""
        return reply

    def _signed(
        self, path: str, request: bytes, metadata: Mapping[str, str], timeout_s: float
    ) -> Mapping[str, str]:
        if self._keys is None:
            return metadata
        expiry_ms = self._now_ms() + round((timeout_s + MARGIN_S) * 1000)
        return {**metadata, MAC: self._keys.sign(self._service, path, request, metadata, expiry_ms)}

    def _disbelieved(self, error: RpcError) -> RpcError:
        problem = f"service {self._service} {_MEANS[error.reason]}"
        if problem != self.problem:
            _logger.error(
                "a service does not believe this gateway; calls to it are repeated", problem=problem
            )
            self.problem = problem
        return RpcError(Code.UNAVAILABLE, problem, reason=error.reason, domain=DOMAIN)


def _is_disbelief(error: RpcError) -> bool:
    return error.code is Code.UNAUTHENTICATED and error.is_ours and error.reason in _MEANS


async def nobody_believes(transports: Collection[SignedTransport]) -> str:
    """What is wrong with this gateway where no service believes it: a check of readiness.

    That one of several does not is told when the gateway starts, and in the log: to take every gateway out of service
    for one participant would turn its mistake into everybody's.
    """
    problems = {transport.problem for transport in transports}
    return "" if "" in problems else "; ".join(sorted(problems))
