"""Service `shop`.

`sagagen generate` created this file once; from now on it is yours.
"""

from grpclib.const import Status

from generated.pb.case.v1 import PackRequest, PackResponse, SendRequest, SendResponse
from generated.services.shop import ShopHandlers
from sagagen.runtime import Call, RpcError


class ShopService(ShopHandlers):
    async def pack(self, request: PackRequest, call: Call) -> PackResponse:
        raise RpcError(Status.UNIMPLEMENTED, "shop.pack is not written yet")

    async def send(self, request: SendRequest, call: Call) -> SendResponse:
        raise RpcError(Status.UNIMPLEMENTED, "shop.send is not written yet")
