"""Takes crates in and sends them back."""

from generated.pb.museum.import_.v1 import (
    Class,
    ImportRequest,
    ImportResponse,
    NoneMessage,
    ReturnRequest,
    ReturnResponse,
    YieldRequest,
    YieldResponse,
)
from generated.services.class_ import ClassHandlers
from sagagen.runtime import Call, Declined


class ClassService(ClassHandlers):
    async def import_(self, request: ImportRequest, call: Call) -> ImportResponse:
        if request.class_ is Class.CLASS_None:
            raise Declined("NOT_CARRIED", "nobody carries crates of this class")
        origin = request.from_.class_ if request.from_ else ""
        crates = [*sorted(request.pieces), *request.list_]
        await call.db.executemany(
            "INSERT INTO crates (exhibit_id, crate, origin) VALUES (?, ?, ?)",
            [(request.exhibit_id, crate, origin) for crate in crates],
        )
        return ImportResponse(crates=len(crates), none=NoneMessage(none="nothing left to do"))

    async def return_(self, request: ReturnRequest, call: Call) -> ReturnResponse:
        await call.db.execute("DELETE FROM crates WHERE exhibit_id = ?", (request.exhibit_id,))
        return ReturnResponse()

    async def yield_(self, request: YieldRequest, call: Call) -> YieldResponse:
        rows = await call.db.fetch(
            "SELECT crate FROM crates WHERE exhibit_id = ? ORDER BY crate", (request.exhibit_id,)
        )
        return YieldResponse(crates=[row["crate"] for row in rows])
