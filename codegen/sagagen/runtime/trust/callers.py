"""The callers that a service takes: the answer to each connection, found once."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.trust.spiffe import Certificate, NoIdentity, Peer, peer_of, spiffe_id

CALLER_REFUSED = "CALLER_REFUSED"
"""Reason of a refusal, in the runtime's own domain."""
_SAID_EVERY_S = 60.0
_MAX_SAID = 100

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Callers:
    """Of one service."""

    service: str
    domain: str
    names: tuple[str, ...]
    """Names of processes."""
    _said: "Sparingly" = field(default_factory=lambda: Sparingly(), repr=False, compare=False)

    def judged(self, certificate: Certificate | None, address: str = "") -> Peer | RpcError:
        """The caller; or the answer to each of its calls, which is also told to the log."""
        try:
            peer = peer_of(certificate)
        except NoIdentity as error:
            refusal = self.refusal(Code.UNAUTHENTICATED, str(error))
            self._said.warn("a caller has no identity", address, reason=str(error))
            return refusal
        if peer.uri in (spiffe_id(self.domain, name) for name in self.names):
            return peer
        code = Code.PERMISSION_DENIED if self._is_ours(peer) else Code.UNAUTHENTICATED
        allowed = ", ".join(spiffe_id(self.domain, name) for name in self.names) or "nobody"
        refusal = self.refusal(code, f"{peer.shown} may not call it; its callers are {allowed}")
        self._said.warn(
            "a caller is refused", peer.uri, identity=peer.shown, address=address, callers=allowed
        )
        return refusal

    def expired(self, peer: Peer) -> RpcError:
        return self.refusal(Code.UNAUTHENTICATED, f"the certificate of {peer.shown} has expired")

    def refusal(self, code: Code, why: str) -> RpcError:
        return RpcError(code, f"service {self.service}: {why}", reason=CALLER_REFUSED, domain=DOMAIN)

    def _is_ours(self, peer: Peer) -> bool:
        return peer.uri.startswith(spiffe_id(self.domain, ""))


class Sparingly:
    """Warnings, each about somebody, and about one of them once a minute: nobody fills the log by trying again."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._said_at_s: dict[tuple[str, str], float] = {}

    def warn(self, event: str, about: str, **more: object) -> None:
        """Tell `event`, unless it was told about them within the last minute."""
        now_s, key = self._clock_s(), (event, about)
        if now_s - self._said_at_s.get(key, float("-inf")) < _SAID_EVERY_S:
            return
        if len(self._said_at_s) >= _MAX_SAID:
            self._forget(now_s)
            if len(self._said_at_s) >= _MAX_SAID:
                return
        self._said_at_s[key] = now_s
        _logger.warning(event, **more)

    def _forget(self, now_s: float) -> None:
        self._said_at_s = {key: at for key, at in self._said_at_s.items() if now_s - at < _SAID_EVERY_S}
