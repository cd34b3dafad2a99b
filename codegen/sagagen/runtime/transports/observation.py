"""What is told of every call that the gateway makes, whatever transport it takes."""

import time
from collections.abc import Mapping

from grpclib.const import Status as Code

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.transport import Reply, Transport
from sagagen.runtime.telemetry.metrics import RPC_CLIENT_SECONDS, child


class ObservedTransport:
    """A transport that tells how long its calls take; implements Transport."""

    def __init__(self, inner: Transport, address: str) -> None:
        """`address` is what the service is called in metrics: its name."""
        self.inner = inner
        self._address = address

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        """As Transport says."""
        begun_s, code = time.perf_counter(), "OK"
        try:
            return await self.inner.call(path, request, metadata=metadata, timeout_s=timeout_s)
        except RpcError as error:
            code = error.code.name
            raise
        except BaseException:
            code = Code.CANCELLED.name
            raise
        finally:
            histogram = child(RPC_CLIENT_SECONDS, "grpc", path[1:], code, self._address)
            histogram.observe(time.perf_counter() - begun_s)
