"""Keeps items, and when a saga was finished."""

import time

from generated.pb.tree.v1 import FinishRequest, Item, Nothing
from generated.services.store import StoreHandlers
from sagagen.runtime import Call, Declined


class StoreService(StoreHandlers):
    async def put(self, request: Item, call: Call) -> Nothing:
        await call.db.execute(
            "INSERT INTO items (saga_id, item) VALUES (?, ?)", (request.saga_id, request.item)
        )
        return Nothing()

    async def take_back(self, request: Item, call: Call) -> Nothing:
        await call.db.execute(
            "DELETE FROM items WHERE saga_id = ? AND item = ?", (request.saga_id, request.item)
        )
        return Nothing()

    async def finish(self, request: FinishRequest, call: Call) -> Nothing:
        if request.declined:
            raise Declined("AS_ASKED", "the request says so")
        await call.db.execute(
            "INSERT INTO finished (saga_id, at_ns) VALUES (?, ?)", (request.saga_id, time.time_ns())
        )
        return Nothing()
