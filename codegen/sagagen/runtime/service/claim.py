"""The rpc that every service has besides those of its contract: it has no handler, and what it does is its record."""

from dataclasses import dataclass

import betterproto2
from betterproto2 import Message
from grpclib.const import Status as Code

from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Method
from sagagen.runtime.rpc.claim import CLAIM, CLAIM_PATH
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service.call import CallContext
from sagagen.runtime.service.methods import BoundMethod


@dataclass(eq=False, repr=False)
class _Opaque(betterproto2.Message):
    """Nobody reads a claim's request; its bytes are in the digest of the call."""


class _ClaimMethod(BoundMethod):
    async def decode(self, request: bytes, schema: Schema) -> Message:
        return _Opaque()

    async def run(self, request: Message, call: CallContext) -> bytes:
        if call.step != CLAIM:
            raise RpcError(Code.INVALID_ARGUMENT, f"only a saga's step {CLAIM} is a claim")
        return b""


async def _has_no_handler(_request: Message, _call: CallContext) -> object:
    raise AssertionError("a claim runs no handler")


CLAIM_METHOD = _ClaimMethod(
    Method(CLAIM_PATH, _Opaque, _Opaque, "", "", ""), _has_no_handler, check_response=None, has_rules=False
)
