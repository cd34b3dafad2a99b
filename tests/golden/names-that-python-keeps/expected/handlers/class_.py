"""Service `class`.

`sagagen generate` created this file once; from now on it is yours.
"""

from grpclib.const import Status

from generated.pb.words import LambdaRequest, Reply
from generated.services.class_ import ClassHandlers
from sagagen.runtime import Call, RpcError


class ClassService(ClassHandlers):
    async def import_(self, request: LambdaRequest, call: Call) -> Reply:
        raise RpcError(Status.UNIMPLEMENTED, "class.import_ is not written yet")

    async def return_(self, request: LambdaRequest, call: Call) -> Reply:
        raise RpcError(Status.UNIMPLEMENTED, "class.return_ is not written yet")
