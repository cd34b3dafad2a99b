"""What a gateway's admin listener has besides what every process has: its sagas, and the commands about them.

A token keeps strangers away from the sagas. On loopback none is needed, and two checks keep web pages out instead: the
Host must be this machine (DNS rebinding), and a command must be JSON (a browser sends other content types to other
origins without asking).
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
from sagagen.runtime.saga.commands import Act, AmbiguousSaga, CommandRejected, OperatorCommand, UnknownSaga
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.journal import JournalUnavailable, JournalUnreadable
from sagagen.runtime.saga.search import OPEN, SagaQuery

TOKEN = "SAGAGEN_ADMIN_TOKEN"
"""The environment variable that holds the token."""
MAX_LISTED = 10_000
"""Most sagas that one answer lists."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class SagaAdmin:
    """Which sagas are shown, and to whom."""

    operations: SagaOperations
    host: str
    """Where the listener binds."""
    token: str
    """What `Authorization: Bearer` must hold. If it is empty, loopback needs none, and elsewhere nobody is let in."""


def saga_routes(admin: SagaAdmin) -> list[Route]:
    """`/sagas`, one saga, the commands about it, and `/stats`."""

    async def listed(request: Request) -> Response:
        asked = request.query_params
        found = await admin.operations.list(
            query_of(asked), step=asked.get("step", ""), service=asked.get("service", "")
        )
        return JSONResponse({"sagas": found})

    async def shown(request: Request) -> Response:
        return JSONResponse(await admin.operations.show(request.path_params["id"]))

    async def commanded(request: Request) -> Response:
        command = await _command_of(request)
        return JSONResponse(await admin.operations.command(request.path_params["id"], command))

    async def stats(_request: Request) -> Response:
        return JSONResponse(await admin.operations.stats())

    return [
        Route("/stats", _guarded(admin, stats)),
        Route("/sagas", _guarded(admin, listed)),
        Route("/sagas/{id}", _guarded(admin, shown)),
        Route("/sagas/{id}/{act}", _guarded(admin, commanded), methods=["POST"]),
    ]


class BadQuery(ValueError):
    """A request that can't be understood; the message says what would do."""


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


async def _command_of(request: Request) -> OperatorCommand:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise BadQuery("a command is JSON: send content-type: application/json")
    try:
        act, members = Act(request.path_params["act"]), json.loads(await request.body())
    except ValueError as error:
        raise BadQuery(str(error)) from error
    if not isinstance(members, dict):
        raise BadQuery('a command is an object: {"by": "ann", "note": "refunded by hand"}')
    given = cast(dict[str, Any], members)
    by, note = given.get("by", ""), given.get("note", "")
    if not isinstance(by, str) or not isinstance(note, str) or not by.strip():
        raise BadQuery("a command says who gives it: `by` and `note` are strings, `by` is not empty")
    return OperatorCommand(act, by.strip(), note.strip())


def _guarded(admin: SagaAdmin, endpoint: Endpoint) -> Endpoint:
    """Let in whoever may see the sagas, and answer errors as JSON: `{"error": ...}`."""

    async def guarded(request: Request) -> Response:
        if refusal := _refusal(admin, request):
            return refusal
        try:
            return await endpoint(request)
        except BadQuery as error:
            return _error(400, str(error))
        except UnknownSaga as error:
            return _error(404, str(error))
        except AmbiguousSaga as error:
            return _error(409, str(error))
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
        return _error(401, f"the sagas need a token: send the value of {TOKEN} as `Authorization: Bearer`")
    if admin.host not in _LOOPBACK:
        return _error(
            403,
            f"this listener is not on loopback ({admin.host}): set {TOKEN} for the gateway to open its sagas",
        )
    if request.url.hostname not in _LOOPBACK:
        return _error(403, f"without a token ({TOKEN}) the sagas can be reached at localhost only")
    return None


def _error(status: int, message: str) -> Response:
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": message}, status_code=status, headers=headers)
