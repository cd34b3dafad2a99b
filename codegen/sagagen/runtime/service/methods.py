"""The rpcs of a service, each with its handler: encoded request in, encoded response out."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from betterproto2 import Message
from grpclib.const import Status as Code

from sagagen.runtime.messages.apart import LARGE_BYTES, apart
from sagagen.runtime.messages.parts import may_have_too_many_parts
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.messages.valid_values import invalid_value, may_be_invalid
from sagagen.runtime.messages.validation_rules import has_rules
from sagagen.runtime.model.definition import Action, Direction, Method, Saga, Service, Step, StepKind
from sagagen.runtime.rpc.claim import CLAIM, CLAIM_PATH
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.refusals import UNKNOWN_CALL
from sagagen.runtime.rpc.transport import MAX_MESSAGE_BYTES
from sagagen.runtime.service.call import CallContext
from sagagen.runtime.startup import StartupError

DEPLOYED_AFTER_S = 1.0
"""Seconds after which a call that is not known here may be tried again."""


class ServiceIncomplete(StartupError):
    """A handler class can't do what the contract asks of its service."""


@dataclass(frozen=True, slots=True)
class BoundMethod:
    """An rpc and the handler's method for it."""

    method: Method[Any, Any]
    handler: Callable[[Message, CallContext], Awaitable[object]]
    check_response: Callable[[bytes], str] | None
    """What is wrong with a value of the encoded response; None if its type can have none that is wrong."""
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
        if self.check_response and (wrong := self.check_response(encoded)):
            raise ValueError(f"{self.method.handler} returned {self.method.response.__name__} where {wrong}")
        return encoded


class SagaCalls:
    """The calls that the contract's sagas make: whoever reaches the port may ask for any other."""

    def __init__(self, sagas: Iterable[Saga]) -> None:
        self._known: dict[tuple[str, str], list[tuple[StepKind, Direction]]] = {
            (CLAIM_PATH, CLAIM): [(StepKind.COMPENSATABLE, Direction.ACTION)]
        }
        """By rpc and step, or a loop's `name[]`: a name of an enum takes two functions of Python to be hashed."""
        for step in (step for saga in sagas for step in saga.calls):
            self._add(step, step.action, Direction.ACTION)
            if step.compensation:
                self._add(step, step.compensation, Direction.COMPENSATION)

    def _add(self, step: Step, action: Action, direction: Direction) -> None:
        name = step.name if step.for_each is None else _of_items(step.name)
        self._known.setdefault((action.method.path, name), []).append((step.kind, direction))

    def check(self, path: str, call: SagaCall) -> None:
        """Raises RpcError UNAVAILABLE: a saga of a newer contract waits until that is deployed here as well."""
        step = _of_items(call.step.partition("[")[0]) if "[" in call.step else call.step
        if (call.kind, call.direction) not in self._known.get((path, step), ()):
            raise RpcError(
                Code.UNAVAILABLE,
                f"no saga of this service's contract makes this call as {call.direction} of a {call.kind} step "
                f"{call.step}; deploy the contract of the gateway here",
                reason=UNKNOWN_CALL,
                domain=DOMAIN,
                retry_after_s=DEPLOYED_AFTER_S,
            )


def _of_items(name: str) -> str:
    """What stands for `name[margherita]` and all other items of a loop. No item has an empty key."""
    return f"{name}[]"


def bind(service: Service, handlers: object, schema: Schema) -> Mapping[str, BoundMethod]:
    """The service's methods by path. Raises ServiceIncomplete if one has no handler, or one that can't run."""
    return {method.path: _bind(service, method, handlers, schema) for method in service.methods}


def _bind(service: Service, method: Method[Any, Any], handlers: object, schema: Schema) -> BoundMethod:
    handler = getattr(handlers, method.handler, None)
    if not inspect.iscoroutinefunction(handler):
        raise ServiceIncomplete(f"{service.handlers} needs `async def {method.handler}(self, request, call)`")
    return BoundMethod(
        method, handler, _response_check(method, schema), has_rules(schema.descriptor(method.request_name))
    )


def _response_check(method: Method[Any, Any], schema: Schema) -> Callable[[bytes], str] | None:
    if not may_be_invalid(schema.descriptor(method.response_name)):
        return None
    parsed = schema.message_type(method.response_name).FromString
    return lambda encoded: invalid_value(parsed(encoded))
