"""A service's side: which calls it believes, and what it says of the others."""

import time
from collections.abc import Mapping

import structlog

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.trust.mac import MeshKeys

_SAID_AGAIN_S = 60.0
"""Time in seconds between two lines of one reason: whoever can reach the port could write the log full otherwise."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class CallVerifier:
    """Believes calls that are signed with the mesh's key."""

    def __init__(self, service: str, keys: MeshKeys) -> None:
        self._service = service
        self._keys = keys
        self._refused: dict[str, int] = {}
        """Calls by reason, since the last line about it."""
        self._said_s: dict[str, float] = {}

    def __call__(self, path: str, request: bytes, metadata: Mapping[str, str]) -> None:
        """Raises RpcError UNAUTHENTICATED for a call that nobody of this mesh has made."""
        try:
            self._keys.verify(self._service, path, request, metadata, time.time_ns() // 1_000_000)
        except RpcError as error:
            self._tell(error, path)
            raise

    def _tell(self, error: RpcError, path: str) -> None:
        reason, now_s = error.reason, time.monotonic()
        self._refused[reason] = self._refused.get(reason, 0) + 1
        if now_s - self._said_s.get(reason, float("-inf")) >= _SAID_AGAIN_S:
            self._said_s[reason] = now_s
            calls = self._refused.pop(reason)
            known = ",".join(self._keys.ids)
            _logger.warning(
                "calls are refused: nobody of this mesh has made them",
                service=self._service,
                reason=reason,
                problem=error.message,
                calls=calls,
                rpc=path,
                known_keys=known,
            )
