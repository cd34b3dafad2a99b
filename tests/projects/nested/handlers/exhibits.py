"""Plans, opens and closes exhibits, and knows the rooms."""

from grpclib.const import Status

from generated.pb.museum.exhibit.v1 import (
    CloseRequest,
    CloseResponse,
    Exhibit,
    ExhibitPiece,
    ExhibitStatus,
    GetRequest,
    GetResponse,
    LookRequest,
    LookResponse,
    OpenRequest,
    OpenResponse,
    PlanRequest,
    PlanResponse,
    ScrapRequest,
    ScrapResponse,
)
from generated.services.exhibits import ExhibitsHandlers
from sagagen.runtime import Call, Db, Declined, RpcError

ROOMS = 100


class ExhibitsService(ExhibitsHandlers):
    async def plan(self, request: PlanRequest, call: Call) -> PlanResponse:
        exhibit = Exhibit(
            exhibit_id=request.exhibit_id,
            status=ExhibitStatus.PLANNED,
            pieces=request.pieces,
            opens=request.opens,
            lasts=request.lasts,
            motto=request.motto,
            room=request.room,
            highlight=ExhibitPiece(title=max(request.pieces, default="")),
        )
        await call.db.execute(
            "INSERT INTO exhibits (exhibit_id, exhibit) VALUES (?, ?)", (request.exhibit_id, bytes(exhibit))
        )
        return PlanResponse(exhibit=exhibit)

    async def scrap(self, request: ScrapRequest, call: Call) -> ScrapResponse:
        await call.db.execute("DELETE FROM exhibits WHERE exhibit_id = ?", (request.exhibit_id,))
        return ScrapResponse()

    async def open(self, request: OpenRequest, call: Call) -> OpenResponse:
        if not (exhibit := await read_exhibit(call.db, request.exhibit_id)).pieces:
            raise Declined("NOTHING_TO_SEE", "an exhibit without a piece does not open")
        return OpenResponse(exhibit=await set_status(call.db, exhibit, ExhibitStatus.OPEN))

    async def close(self, request: CloseRequest, call: Call) -> CloseResponse:
        exhibit = await read_exhibit(call.db, request.exhibit_id)
        return CloseResponse(exhibit=await set_status(call.db, exhibit, request.status))

    async def get(self, request: GetRequest, call: Call) -> GetResponse:
        return GetResponse(exhibit=await read_exhibit(call.db, request.exhibit_id))

    async def look(self, request: LookRequest, call: Call) -> LookResponse:
        return LookResponse(room=request.room, is_free=0 < request.room <= ROOMS, area_m2=request.room * 10)


async def set_status(db: Db, exhibit: Exhibit, status: ExhibitStatus) -> Exhibit:
    exhibit.status = status
    await db.execute(
        "UPDATE exhibits SET exhibit = ? WHERE exhibit_id = ?", (bytes(exhibit), exhibit.exhibit_id)
    )
    return exhibit


async def read_exhibit(db: Db, exhibit_id: str) -> Exhibit:
    rows = await db.fetch("SELECT exhibit FROM exhibits WHERE exhibit_id = ?", (exhibit_id,))
    if not rows:
        raise RpcError(Status.NOT_FOUND, f"no exhibit {exhibit_id}")
    return Exhibit.parse(rows[0]["exhibit"])
