"""Service `flights`.

`sagagen generate` created this file once; from now on it is yours.
"""

from grpclib.const import Status

from generated.pb.trip import Drop, FindSeatRequest, HoldSeatRequest, Nothing, Seat, Trip
from generated.services.flights import FlightsHandlers
from sagagen.runtime import Call, RpcError


class FlightsService(FlightsHandlers):
    async def find_seat(self, request: FindSeatRequest, call: Call) -> Seat:
        raise RpcError(Status.UNIMPLEMENTED, "flights.find_seat is not written yet")

    async def hold_seat(self, request: HoldSeatRequest, call: Call) -> Nothing:
        raise RpcError(Status.UNIMPLEMENTED, "flights.hold_seat is not written yet")

    async def drop_seat(self, request: Drop, call: Call) -> Nothing:
        raise RpcError(Status.UNIMPLEMENTED, "flights.drop_seat is not written yet")

    async def buy_seat(self, request: Trip, call: Call) -> Nothing:
        raise RpcError(Status.UNIMPLEMENTED, "flights.buy_seat is not written yet")
