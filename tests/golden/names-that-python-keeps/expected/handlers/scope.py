"""Service `scope`.

`sagagen generate` created this file once; from now on it is yours.
"""

from grpclib.const import Status

from generated.pb.words import LambdaRequest, Reply
from generated.services.scope import ScopeHandlers
from sagagen.runtime import Call, RpcError


class ScopeService(ScopeHandlers):
    async def yield_(self, request: LambdaRequest, call: Call) -> Reply:
        raise RpcError(Status.UNIMPLEMENTED, "scope.yield_ is not written yet")

    async def self(self, request: LambdaRequest, call: Call) -> Reply:
        raise RpcError(Status.UNIMPLEMENTED, "scope.self is not written yet")
