from generated.pb.trip import Drop, Held, Nothing, Purchase, Trip
from generated.services.travel import TravelHandlers
from sagagen.runtime import Call, Declined


class TravelService(TravelHandlers):
    async def hold_seat(self, request: Trip, call: Call) -> Held:
        return Held(what=f"a seat to {request.to}")

    async def drop_seat(self, request: Drop, call: Call) -> Nothing:
        return Nothing()

    async def hold_room(self, request: Trip, call: Call) -> Held:
        return Held(what="a tent" if request.to == "the woods" else f"a room in {request.to}")

    async def drop_room(self, request: Drop, call: Call) -> Nothing:
        return Nothing()

    async def hold_car(self, request: Trip, call: Call) -> Held:
        if request.to == "a room in Venice":
            raise Declined("NO_STREETS", "there are no cars")
        return Held(what=f"a car at {request.to}")

    async def drop_car(self, request: Drop, call: Call) -> Nothing:
        return Nothing()

    async def buy(self, request: Purchase, call: Call) -> Nothing:
        return Nothing()

    async def send_ticket(self, request: Trip, call: Call) -> Nothing:
        return Nothing()
