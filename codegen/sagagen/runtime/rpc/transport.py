"""How an encoded request reaches a service: the same for gRPC and for the in-memory transport."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""gRPC's default limit, of a request and of a response."""


class Reply(NamedTuple):
    """A successful answer: the encoded response and the trailing metadata."""

    response: bytes
    trailers: Mapping[str, str] = MappingProxyType({})


class Transport(Protocol):
    """A client's way to one service."""

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        """Call the rpc `path` and wait for its answer, at most `timeout_s` seconds (sent as grpc-timeout).

        Raises RpcError with the service's status, or with UNAVAILABLE or DEADLINE_EXCEEDED when no answer came, in
        which case the call may still have happened. Cancelling cancels the call at the service too.
        """
        ...


class ReplicaStanding(NamedTuple):
    """How one of several processes of a service does, as whoever calls them sees it."""

    address: str
    is_resting: bool
    """It did not answer, or not well: others are called before it."""
    under_way: int
    """Calls to it that have no answer yet."""
