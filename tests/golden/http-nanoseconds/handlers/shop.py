"""Says what arrived."""

from generated.pb.case import Sale
from generated.services.shop import ShopHandlers
from sagagen.runtime import Call


class ShopService(ShopHandlers):
    async def sell(self, request: Sale, call: Call) -> Sale:
        return request
