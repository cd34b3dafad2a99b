"""What a gateway's admin listener has beyond the others': its sagas, and orders about them.

Who can reach it and may not be trusted is kept away from the sagas by a token. On loopback none is needed, and then
two things keep web pages out: a Host that is not this machine (DNS rebinding), and orders that are not JSON (which a
browser sends to other origins without asking).
"""

import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.saga.commands import Act, CommandRejected, OperatorCommand, UnknownSaga
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.journal import JournalUnavailable, JournalUnreadable
from sagagen.runtime.saga.search import OPEN, SagaQuery

TOKEN = "SAGAGEN_ADMIN_TOKEN"
"""Environment variable."""
MAX_LISTED = 10_000
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class SagaAdmin:
    """The sagas to show, and to whom."""

    desk: SagaOperations
    host: str
    """Where it listens."""
    token: str
    """What `Authorization: Bearer` must bring; empty: none is asked for on loopback, and elsewhere nobody is let in."""


def saga_routes(admin: SagaAdmin) -> list[Route]:
    """`/sagas`, one saga, the orders about it, and `/stats`."""

    async def listed(request: Request) -> Response:
        asked = request.query_params
        found = await admin.desk.list(
            query_of(asked), step=asked.get("step", ""), service=asked.get("service", "")
        )
        return JSONResponse({"sagas": found})

    async def shown(request: Request) -> Response:
        return JSONResponse(await admin.desk.show(request.path_params["id"]))

    async def ordered(request: Request) -> Response:
        order = await _order_of(request)
        return JSONResponse(await admin.desk.order(request.path_params["id"], order))

    async def stats(_request: Request) -> Response:
        return JSONResponse(await admin.desk.stats())

    return [
        Route("/stats", _guarded(admin, stats)),
        Route("/sagas", _guarded(admin, listed)),
        Route("/sagas/{id}", _guarded(admin, shown)),
        Route("/sagas/{id}/{act}", _guarded(admin, ordered), methods=["POST"]),
    ]


class BadQuery(ValueError):
    """What was asked for can't be understood; the message says what would do."""


def query_of(asked: Mapping[str, str]) -> SagaQuery:
    """From `saga`, `status` (comma-separated, or `ALL`), `older_than_s` and `limit`. Raises BadQuery."""
    try:
        older_than_s, limit = float(asked.get("older_than_s") or 0.0), int(asked.get("limit") or 100)
    except ValueError as error:
        raise BadQuery(f"older_than_s and limit are numbers: {error}") from error
    if not 0.0 <= older_than_s < 1e10 or not 1 <= limit <= MAX_LISTED:
        raise BadQuery(f"older_than_s is 0 or more, limit from 1 to {MAX_LISTED}")
    return SagaQuery(
        saga=asked.get("saga", ""),
        statuses=_statuses(asked.get("status", "")),
        started_before_ms=round((time.time() - older_than_s) * 1000) if older_than_s else None,
        limit=limit,
    )


def _statuses(text: str) -> tuple[SagaStatus, ...]:
    if not text:
        return OPEN
    if text.upper() == "ALL":
        return tuple(SagaStatus)
    try:
        return tuple(SagaStatus(name.strip().upper()) for name in text.split(","))
    except ValueError as error:
        raise BadQuery(f"{error}; there are: {', '.join(SagaStatus)}, ALL") from error


async def _order_of(request: Request) -> OperatorCommand:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise BadQuery("an order is JSON: send content-type: application/json")
    try:
        act, members = Act(request.path_params["act"]), json.loads(await request.body())
    except ValueError as error:
        raise BadQuery(str(error)) from error
    if not isinstance(members, dict):
        raise BadQuery('an order is an object: {"by": "ann", "note": "refunded by hand"}')
    given = cast(dict[str, Any], members)
    by, note = given.get("by", ""), given.get("note", "")
    if not isinstance(by, str) or not isinstance(note, str) or not by.strip():
        raise BadQuery("an order says who gives it: `by` and `note` are strings, `by` is not empty")
    return OperatorCommand(act, by.strip(), note.strip())


def _guarded(admin: SagaAdmin, endpoint: Endpoint) -> Endpoint:
    """Let in who may, and tell errors as JSON: `{"error": ...}`."""

    async def guarded(request: Request) -> Response:
        if refusal := _refusal(admin, request):
            return refusal
        try:
            return await endpoint(request)
        except BadQuery as error:
            return _error(400, str(error))
        except UnknownSaga as error:
            return _error(404, str(error))
        except CommandRejected as error:
            return _error(409, str(error))
        except (JournalUnavailable, JournalUnreadable) as error:
            return _error(503, str(error))

    return guarded


def _refusal(admin: SagaAdmin, request: Request) -> Response | None:
    if admin.token:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), admin.token.encode()):
            return None
        return _error(401, f"the sagas need a token: send what {TOKEN} is, as `Authorization: Bearer`")
    if admin.host not in _LOOPBACK:
        return _error(
            403,
            f"this listener is not on loopback ({admin.host}): set {TOKEN} for the gateway to open its sagas",
        )
    if request.url.hostname not in _LOOPBACK:
        return _error(403, f"without a token ({TOKEN}) the sagas are reached by localhost only")
    return None


def _error(status: int, message: str) -> Response:
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": message}, status_code=status, headers=headers)
