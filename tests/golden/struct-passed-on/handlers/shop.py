from generated.pb.case import Sale
from generated.pb.google.protobuf import Struct, Timestamp
from generated.services.shop import ShopHandlers
from sagagen.runtime import Call


class ShopService(ShopHandlers):
    async def sell(self, request: Sale, call: Call) -> Sale:
        return request

    async def keep(self, request: Struct, call: Call) -> Struct:
        return request

    async def at(self, request: Timestamp, call: Call) -> Timestamp:
        return request
