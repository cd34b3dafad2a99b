"""Says what arrived."""

from generated.pb.case import Sale, UpdateRequest
from generated.services.shop import ShopHandlers
from sagagen.runtime import Call


class ShopService(ShopHandlers):
    async def sell(self, request: Sale, call: Call) -> Sale:
        return request

    async def update(self, request: UpdateRequest, call: Call) -> UpdateRequest:
        return request
