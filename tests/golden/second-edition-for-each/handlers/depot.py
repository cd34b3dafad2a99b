from generated.pb.pack import Cost, ItemRequest, LabelRequest, Nothing, SealRequest
from generated.services.depot import DepotHandlers
from sagagen.runtime import Call, Declined


class DepotService(DepotHandlers):
    async def close(self, request: ItemRequest, call: Call) -> Nothing:
        return Nothing()

    async def pick(self, request: ItemRequest, call: Call) -> Cost:
        if request.sku == "unicorn":
            raise Declined("NO_SUCH_THING", "there are none")
        return Cost(amount=request.count * 10)

    async def put_back(self, request: ItemRequest, call: Call) -> Nothing:
        return Nothing()

    async def label(self, request: LabelRequest, call: Call) -> Nothing:
        return Nothing()

    async def seal(self, request: SealRequest, call: Call) -> Nothing:
        return Nothing()
