from generated.pb.till import Nothing, Receipt, SaleRequest, ThankRequest, Verdict
from generated.services.shop import ShopHandlers
from sagagen.runtime import Call


class ShopService(ShopHandlers):
    async def check(self, request: SaleRequest, call: Call) -> Verdict:
        return Verdict(is_fine=request.price < 5000)

    async def take(self, request: SaleRequest, call: Call) -> Receipt:
        return Receipt(code=f"paid {request.price}")

    async def give_back(self, request: SaleRequest, call: Call) -> Nothing:
        return Nothing()

    async def close(self, request: SaleRequest, call: Call) -> Nothing:
        return Nothing()

    async def thank(self, request: ThankRequest, call: Call) -> Nothing:
        return Nothing()
