"""The shop; this text is its author's."""

from generated.pb.case import Sale
from generated.services.shop import ShopHandlers
from sagagen.runtime import Call, Declined


class ShopService(ShopHandlers):
    """Sells."""

    async def sell(self, request: Sale, call: Call) -> Sale:
        if not request.name:
            raise Declined("NAMELESS")
        return request   # as it came
