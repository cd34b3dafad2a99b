"""Calls of somebody whom a service does not let call it: each gets the same answer, whatever it asks for."""

import asyncio
from collections.abc import Mapping
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.limits import wire_form


class RefusedCalls(dict[str, Handler]):
    """Handlers by path, of a connection whose calls are refused: health and reflection too."""

    def __init__(self, refusal: RpcError) -> None:
        super().__init__()
        self._handler = Handler(_refusing(refusal), Cardinality.UNARY_UNARY, bytes, bytes)

    def get(self, path: str, default: Any = None) -> Handler:
        return self._handler


def as_grpc(refusal: RpcError) -> GRPCError:
    message, details = wire_form(refusal)
    return GRPCError(refusal.code, message, details)


def _refusing(refusal: RpcError) -> Any:
    message, details = wire_form(refusal)

    async def refuse(stream: Stream[Any, Any]) -> None:
        await stream.send_trailing_metadata(
            status=refusal.code, status_message=message, status_details=details
        )

    return refuse


def shown(transport: asyncio.BaseTransport) -> tuple[Mapping[str, Any] | None, str]:
    """The certificate that the other side has shown, None if it has not; and its address."""
    end, name = transport.get_extra_info("ssl_object"), transport.get_extra_info("peername")
    certificate = end.getpeercert() if end is not None else None
    return certificate, f"{name[0]}:{name[1]}" if isinstance(name, tuple) else ""
