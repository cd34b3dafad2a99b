"""Service `tower`. Where the bell hangs.

`sagagen generate` created this file once; from now on it is yours.
"""

from grpclib.const import Status

from generated.pb.bell import StrikeReply, StrikeRequest
from generated.services.tower import TowerHandlers
from sagagen.runtime import Call, RpcError


class TowerService(TowerHandlers):
    async def strike(self, request: StrikeRequest, call: Call) -> StrikeReply:
        """Strikes the bell."""
        raise RpcError(Status.UNIMPLEMENTED, "tower.strike is not written yet")
