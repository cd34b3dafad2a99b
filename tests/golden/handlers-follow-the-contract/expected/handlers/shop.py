"""The shop; this text is its author's."""

from grpclib.const import Status

from generated.pb.case import Sale, TakeBackRequest
from generated.services.shop import ShopHandlers
from sagagen.runtime import Call, Declined, RpcError


class ShopService(ShopHandlers):
    """Sells."""

    async def sell(self, request: Sale, call: Call) -> Sale:
        if not request.name:
            raise Declined("NAMELESS")
        return request   # as it came

    async def take_back(self, request: TakeBackRequest, call: Call) -> Sale:
        """Takes it back."""
        raise RpcError(Status.UNIMPLEMENTED, "shop.take_back is not written yet")
