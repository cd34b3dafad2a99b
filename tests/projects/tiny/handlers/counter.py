"""Counts."""

from generated.pb.tiny.v1 import AddRequest, AddResponse
from generated.services.counter import CounterHandlers
from sagagen.runtime import Call, Declined


class CounterService(CounterHandlers):
    async def add(self, request: AddRequest, call: Call) -> AddResponse:
        if request.amount < 0:
            raise Declined("NEGATIVE", "it only counts up")
        rows = await call.db.fetch(
            "UPDATE counter SET total = total + ? RETURNING total", (request.amount,)
        )
        return AddResponse(total=rows[0]["total"])
