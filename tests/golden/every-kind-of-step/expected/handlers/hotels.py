"""Service `hotels`.

`sagagen generate` created this file once; from now on it is yours.
"""

from grpclib.const import Status

from generated.pb.trip import Drop, HoldRoomRequest, Nothing, Room, Trip
from generated.services.hotels import HotelsHandlers
from sagagen.runtime import Call, RpcError


class HotelsService(HotelsHandlers):
    async def hold_room(self, request: HoldRoomRequest, call: Call) -> Nothing:
        raise RpcError(Status.UNIMPLEMENTED, "hotels.hold_room is not written yet")

    async def drop_room(self, request: Drop, call: Call) -> Nothing:
        raise RpcError(Status.UNIMPLEMENTED, "hotels.drop_room is not written yet")

    async def note_guest(self, request: Trip, call: Call) -> Nothing:
        raise RpcError(Status.UNIMPLEMENTED, "hotels.note_guest is not written yet")

    async def confirm_room(self, request: Trip, call: Call) -> Nothing:
        raise RpcError(Status.UNIMPLEMENTED, "hotels.confirm_room is not written yet")

    async def show_room(self, request: Trip, call: Call) -> Room:
        raise RpcError(Status.UNIMPLEMENTED, "hotels.show_room is not written yet")
