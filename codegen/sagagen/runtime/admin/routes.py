"""What a gateway's admin listener has besides what every process has: its sagas, and the commands about them.

A token keeps strangers away from the sagas. On loopback none is needed, and two checks keep web pages out instead: the
Host must be this machine (DNS rebinding), and a command must be JSON (a browser sends other content types to other
origins without asking).
"""

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sagagen.runtime.admin.operations import BadOrder, EventOrder, Order, SagaOperations, Shown
from sagagen.runtime.escaping import escaped_json
from sagagen.runtime.model.definition import MAX_KEY_LENGTH
from sagagen.runtime.saga.commands import (
    BOUND,
    Act,
    AmbiguousSaga,
    CommandRejected,
    OperatorCommand,
    UnknownSaga,
)
from sagagen.runtime.saga.events import Outcome, SagaStatus
from sagagen.runtime.saga.journal import JournalUnavailable, JournalUnreadable
from sagagen.runtime.saga.search import OPEN, SagaQuery
from sagagen.runtime.saga.where import Where, where_of
from sagagen.runtime.secret_file import Secret
from sagagen.runtime.settings import ADMIN_TOKEN

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
    token: Secret | None = None
    """What `Authorization: Bearer` must hold. Without it loopback needs none, and elsewhere nobody is let in."""


def saga_routes(admin: SagaAdmin) -> list[Route]:
    """`/sagas`, one saga, the commands about it, and `/stats`."""

    async def listed(request: Request) -> Response:
        asked = request.query_params
        return _Json({"sagas": await listed_by(admin.operations, asked)})

    async def shown(request: Request) -> Response:
        return _Json(await admin.operations.show(request.path_params["id"]))

    async def commanded(request: Request) -> Response:
        order = await _order_of(request)
        return _Json(await admin.operations.command(request.path_params["id"], order))

    async def sent(request: Request) -> Response:
        order = event_order_of(await _members_of(request))
        return _Json(await admin.operations.send(request.path_params["id"], order))

    async def stats(_request: Request) -> Response:
        return _Json(await admin.operations.stats())

    return [
        Route("/stats", _guarded(admin, stats)),
        Route("/sagas", _guarded(admin, listed)),
        Route("/sagas/{id}", _guarded(admin, shown)),
        Route("/sagas/{id}/send", _guarded(admin, sent), methods=["POST"]),
        Route("/sagas/{id}/{act}", _guarded(admin, commanded), methods=["POST"]),
    ]


async def listed_by(operations: SagaOperations, asked: Mapping[str, str]) -> list[Shown]:
    """What `list` finds: as `query_of` reads it, and by `step`, `service`, `act` and `waiting`. Raises BadOrder."""
    step, service, act, waiting = (asked.get(name, "") for name in ("step", "service", "act", "waiting"))
    return await operations.list(
        query_of(asked), step=step, service=service, act=_act(act) if act else None, waiting=waiting
    )


def query_of(asked: Mapping[str, str]) -> SagaQuery:
    """From `saga`, `where` (as `where_of` reads it), `status` (comma-separated, or `ALL`), `older_than_s` and `limit`.

    Raises BadOrder.
    """
    try:
        older_than_s, limit = float(asked.get("older_than_s") or 0.0), int(asked.get("limit") or 100)
    except ValueError as error:
        raise BadOrder(f"older_than_s and limit are numbers: {error}") from error
    if not 0.0 <= older_than_s < 1e10 or not 1 <= limit <= MAX_LISTED:
        raise BadOrder(f"older_than_s is 0 or more, limit from 1 to {MAX_LISTED}")
    return SagaQuery(
        where=_where(asked.get("where", "")),
        saga=asked.get("saga", ""),
        statuses=_statuses(asked.get("status", "")),
        started_before_ms=round((time.time() - older_than_s) * 1000) if older_than_s else None,
        limit=limit,
    )


def _where(text: str) -> Where | None:
    if not text:
        return None
    try:
        return where_of(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise BadOrder(f'`where` is a condition as JSON, like [">", "total", 5000]: {error}') from error


def _statuses(text: str) -> tuple[SagaStatus, ...]:
    if not text:
        return OPEN
    if text.upper() == "ALL":
        return tuple(SagaStatus)
    try:
        return tuple(SagaStatus(name.strip().upper()) for name in text.split(","))
    except ValueError as error:
        raise BadOrder(f"{error}; there are: {', '.join(SagaStatus)}, ALL") from error


async def _order_of(request: Request) -> Order:
    return order_of(request.path_params["act"], await _members_of(request))


async def _members_of(request: Request) -> Mapping[str, object]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise BadOrder("a command is JSON: send content-type: application/json")
    try:
        members: object = json.loads(await request.body())
        json.dumps(members, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadOrder(f"a text of a command is no Unicode: half a surrogate pair ({error})") from error
    except RecursionError as error:
        raise BadOrder("a command is not nested as deeply as this") from error
    except ValueError as error:
        raise BadOrder(str(error)) from error
    if not isinstance(members, dict):
        raise BadOrder('a command is an object: {"by": "ann", "note": "refunded by hand"}')
    return cast(dict[str, object], members)


def event_order_of(members: Mapping[str, object]) -> EventOrder:
    """From `event`, `by`, `key` (made up where there is none) and `payload` (JSON). Raises BadOrder."""
    texts = {name: members.get(name) or "" for name in ("event", "by", "key")}
    event, by, key = (str(text).strip() for text in texts.values())
    if not all(isinstance(text, str) for text in texts.values()) or not event or not by:
        raise BadOrder("an event is sent with `event` and `by`, strings that are not empty, and `payload`")
    if unknown := members.keys() - {*texts, "payload"}:
        raise BadOrder(f"an event is sent without the member {', '.join(sorted(unknown))}")
    if len(key) > MAX_KEY_LENGTH:
        raise BadOrder(f"a key has at most {MAX_KEY_LENGTH} characters; this one has {len(key)}")
    payload = members.get("payload")
    return EventOrder(event, by, {} if payload is None else payload, key or token_hex(16))


def order_of(act: str, members: Mapping[str, object]) -> Order:
    """From `by`, `note`, `step`, `as` (done, refused) and `response` (JSON). Raises BadOrder."""
    texts = {name: members.get(name) or "" for name in ("by", "note", "step", "as")}
    by, note, step, outcome = (str(text).strip() for text in texts.values())
    if not all(isinstance(text, str) for text in texts.values()) or not by:
        raise BadOrder(
            "a command says who gives it: `by`, `note`, `step` and `as` are strings, `by` is not empty"
        )
    if unknown := members.keys() - {*texts, "response"}:
        raise BadOrder(f"a command has no member {', '.join(sorted(unknown))}")
    command = OperatorCommand(_act(act), by, note, step, _outcome(outcome))
    response = members.get("response")
    _check_bound(command, response)
    return Order(command, response)


def _act(text: str) -> Act:
    try:
        return Act(text)
    except ValueError as error:
        raise BadOrder(f"{error}; there are: {', '.join(Act)}") from error


def _outcome(text: str) -> Outcome | None:
    match text.lower():
        case "":
            return None
        case "done":
            return Outcome.DONE
        case "refused":
            return Outcome.REFUSED
        case _:
            raise BadOrder(f'"{text}" is no outcome; `as` is done or refused')


def _check_bound(command: OperatorCommand, response: object) -> None:
    if command.act in BOUND and not command.step:
        raise BadOrder(f"{command.act} names the step that it vouches for: send `step`")
    if command.act is not Act.RESOLVE and (command.outcome or response is not None):
        raise BadOrder(f"`as` and `response` are for resolve, not for {command.act}")
    if command.outcome is Outcome.REFUSED and response is not None:
        raise BadOrder("a step that is refused has no response")


def _guarded(admin: SagaAdmin, endpoint: Endpoint) -> Endpoint:
    """Let in whoever may see the sagas, and answer errors as JSON: `{"error": ...}`."""

    async def guarded(request: Request) -> Response:
        if refusal := _refusal(admin, request):
            return refusal
        try:
            return await endpoint(request)
        except BadOrder as error:
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
        if kind.lower() == "bearer" and admin.token.is_one(given.strip().encode()):
            return None
        return _error(
            401, f"the sagas need a token: send the value of {ADMIN_TOKEN} as `Authorization: Bearer`"
        )
    if admin.host not in _LOOPBACK:
        return _error(
            403,
            f"this listener is not on loopback ({admin.host}): set {ADMIN_TOKEN} for the gateway to open its sagas",
        )
    if request.url.hostname not in _LOOPBACK:
        return _error(403, f"without a token ({ADMIN_TOKEN}) the sagas can be reached at localhost only")
    return None


class _Json(JSONResponse):
    """Operators ask with curl as well: what others chose of an answer can do nothing to their terminal."""

    def render(self, content: object) -> bytes:
        return escaped_json(json.dumps(content, ensure_ascii=False, separators=(",", ":"))).encode()


def _error(status: int, message: str) -> Response:
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return _Json({"error": message}, status_code=status, headers=headers)
