"""The rpcs of a service, each with its handler: encoded request in, encoded response out."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from betterproto2 import Message
from grpclib.const import Status as Code

from sagagen.runtime.messages.apart import LARGE_BYTES, apart
from sagagen.runtime.messages.parts import may_have_too_many_parts
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.messages.validation_rules import has_rules
from sagagen.runtime.model.definition import Method, Service
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.transport import MAX_MESSAGE_BYTES
from sagagen.runtime.service.call import CallContext
from sagagen.runtime.startup import StartupError


class ServiceIncomplete(StartupError):
    """A handler class can't do what the contract asks of its service."""


@dataclass(frozen=True, slots=True)
class BoundMethod:
    """An rpc and the handler's method for it."""

    method: Method[Any, Any]
    handler: Callable[[Message, CallContext], Awaitable[object]]
    has_rules: bool
    """The request's type has buf.validate rules or required fields, its own or those of a message in it."""

    async def decode(self, request: bytes, schema: Schema) -> Message:
        """Validate and decode. Raises RpcError INVALID_ARGUMENT with one entry for each broken rule."""
        if len(request) > LARGE_BYTES:
            return await apart(lambda: self._decode(request, schema))
        return self._decode(request, schema)

    def _decode(self, request: bytes, schema: Schema) -> Message:
        if self.has_rules or may_have_too_many_parts(len(request)):
            schema.check_bytes(self.method.request_name, request)
        try:
            return cast(Message, self.method.request.parse(request))
        except Exception as error:
            raise RpcError(
                Code.INVALID_ARGUMENT, f"the request is no encoded {self.method.request_name}"
            ) from error

    async def run(self, request: Message, call: CallContext) -> bytes:
        """The encoded response. Raises what the handler raises; TypeError or ValueError if its response is unfit."""
        response = await self.handler(request, call)
        if not isinstance(response, self.method.response):
            raise TypeError(
                f"{self.method.handler} returned {type(response).__name__}, not {self.method.response.__name__}"
            )
        encoded = bytes(cast(Message, response))
        if len(encoded) > MAX_MESSAGE_BYTES:
            raise ValueError(
                f"a response of {len(encoded)} bytes is more than gRPC's limit of {MAX_MESSAGE_BYTES}"
            )
        return encoded


def bind(service: Service, handlers: object, schema: Schema) -> Mapping[str, BoundMethod]:
    """The service's methods by path. Raises ServiceIncomplete if one has no handler, or one that can't run."""
    return {method.path: _bind(service, method, handlers, schema) for method in service.methods}


def _bind(service: Service, method: Method[Any, Any], handlers: object, schema: Schema) -> BoundMethod:
    handler = getattr(handlers, method.handler, None)
    if not inspect.iscoroutinefunction(handler):
        raise ServiceIncomplete(f"{service.handlers} needs `async def {method.handler}(self, request, call)`")
    return BoundMethod(method, handler, has_rules(schema.descriptor(method.request_name)))
