"""Service `shop`. Sells.

`sagagen generate` created this file once; from now on it is yours.
"""

from grpclib.const import Status

from generated.pb.case import Nothing, Sale
from generated.services.shop import ShopHandlers
from sagagen.runtime import Call, RpcError


class ShopService(ShopHandlers):
    async def sell(self, request: Sale, call: Call) -> Nothing:
        """Ends in a backslash \\"""
        raise RpcError(Status.UNIMPLEMENTED, "shop.sell is not written yet")
