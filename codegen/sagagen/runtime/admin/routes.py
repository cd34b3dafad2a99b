"""What a gateway's admin listener has besides what every process has: its sagas, orders about them, and the audit."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sagagen.runtime.admin.answers import Json, problem
from sagagen.runtime.admin.deed import Deed
from sagagen.runtime.admin.figures_shown import groups_shown, overview_shown, steps_shown
from sagagen.runtime.admin.gate import Admitted, Gate, NotAdmitted
from sagagen.runtime.admin.orders import Orders, UnknownOrder, order_shown
from sagagen.runtime.admin.parsing import BadOrder
from sagagen.runtime.audit.trail import PendingOrder, TooManyPending
from sagagen.runtime.saga.commands import AmbiguousSaga, CommandRejected, UnknownSaga
from sagagen.runtime.saga.journal import JournalUnavailable, JournalUnreadable

Endpoint = Callable[[Request], Awaitable[Response]]
Guarded = Callable[[Request, Deed, Admitted], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class SagaAdmin:
    """What operators get, and who they are."""

    orders: Orders
    gate: Gate


def saga_routes(admin: SagaAdmin) -> list[Route]:
    """`/sagas`, one saga, its history, the orders about it, those that wait, the audit, and what is known of many."""
    orders, operations = admin.orders, admin.orders.operations

    async def listed(request: Request, deed: Deed, _by: Admitted) -> Response:
        if "before" in request.query_params:
            return Json(await orders.page(deed, request.query_params))
        return Json({"sagas": await orders.find(deed, request.query_params)})

    async def groups(_request: Request, _deed: Deed, _by: Admitted) -> Response:
        return Json(groups_shown(await operations.figures.groups()))

    async def steps(request: Request, _deed: Deed, _by: Admitted) -> Response:
        asked = request.query_params
        return Json(await steps_shown(operations.figures, operations.definitions, asked))

    async def overview(_request: Request, _deed: Deed, _by: Admitted) -> Response:
        return Json(await overview_shown(operations.figures, operations.definitions))

    async def shown(request: Request, _deed: Deed, _by: Admitted) -> Response:
        return Json(await operations.show(request.path_params["id"]))

    async def history(request: Request, _deed: Deed, _by: Admitted) -> Response:
        return Json(await operations.history(request.path_params["id"]))

    async def given(request: Request, deed: Deed, by: Admitted) -> Response:
        outcome = await orders.give(deed, signed(await _members_of(request), by))
        if isinstance(outcome, PendingOrder):
            return Json({"order": order_shown(outcome)}, status_code=202)
        return Json(outcome)

    async def stats(_request: Request, _deed: Deed, _by: Admitted) -> Response:
        return Json(await operations.stats())

    async def audit(request: Request, _deed: Deed, _by: Admitted) -> Response:
        return Json({"audit": await orders.audit(request.query_params)})

    async def pending(_request: Request, _deed: Deed, _by: Admitted) -> Response:
        return Json({"orders": [order_shown(order) for order in await orders.pending()]})

    async def order(_request: Request, deed: Deed, _by: Admitted) -> Response:
        return Json({"order": await orders.show_pending(deed)})

    async def confirmed(request: Request, deed: Deed, by: Admitted) -> Response:
        deed.by = _named(await _members_of(request), by)
        return Json(await orders.confirm(deed))

    async def withdrawn(request: Request, deed: Deed, by: Admitted) -> Response:
        deed.by = _named(await _members_of(request), by)
        await orders.withdraw(deed)
        return Json({"withdrawn": deed.order_id})

    def looking(path: str, did: str, endpoint: Guarded, *, is_for_operators: bool = False) -> Route:
        guarded = _guarded(admin, did, endpoint, is_for_operators=is_for_operators)
        return Route(path, guarded, methods=["GET"])

    def ordering(path: str, did: str, endpoint: Guarded) -> Route:
        guarded = _guarded(admin, did, endpoint, is_for_operators=True, is_order=True)
        return Route(path, guarded, methods=["POST"])

    return [
        looking("/stats", "stats", stats),
        looking("/audit", "audit", audit),
        looking("/orders", "orders", pending),
        looking("/orders/{order}", "order", order, is_for_operators=True),  # it may show a payload
        ordering("/orders/{order}/confirm", "confirm", confirmed),
        ordering("/orders/{order}/withdraw", "withdraw", withdrawn),
        looking("/overview", "overview", overview),
        looking("/steps", "steps", steps),
        looking("/sagas", "list", listed),
        looking("/sagas/groups", "groups", groups),
        looking("/sagas/{id}", "show", shown),
        looking("/sagas/{id}/history", "history", history),
        ordering("/sagas/{id}/{act}", "", given),
    ]


def audited_metrics(admin: SagaAdmin, endpoint: Endpoint) -> Endpoint:
    """The metrics, for whoever may look; who may not is audited."""

    async def shown(request: Request, _deed: Deed, _by: Admitted) -> Response:
        return await endpoint(request)

    return _guarded(admin, "metrics", shown, is_for_operators=False)


def guarded_metrics(gate: Gate, endpoint: Endpoint) -> Endpoint:
    """The metrics of a process without an audit, for whoever may look."""

    async def guarded(request: Request) -> Response:
        try:
            await gate.admit(request)
        except NotAdmitted as error:
            return _turned_away(error)
        return await endpoint(request)

    return guarded


def signed(members: Mapping[str, object], by: Admitted) -> dict[str, object]:
    """An order's members with `by` of whoever is known to give it. Raises NotAdmitted where it names somebody else."""
    return {**members, "by": _named(members, by)}


def _named(members: Mapping[str, object], by: Admitted) -> str:
    named = members.get("by")
    if not by.is_known:
        return named if isinstance(named, str) and named.strip() else by.by
    if named is not None and named != by.by:
        why = f"`by` names somebody else: you are {by.by}, so leave it out"
        raise NotAdmitted(403, why, by=by.by, scheme=by.scheme)
    return by.by


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


def _guarded(
    admin: SagaAdmin, did: str, endpoint: Guarded, *, is_for_operators: bool, is_order: bool = False
) -> Endpoint:
    """Let in whoever may do this, keep who is refused, and answer errors as problem documents."""

    async def guarded(request: Request) -> Response:
        path = request.path_params
        deed = Deed(
            did=did or path["act"],
            saga_id=path.get("id", ""),
            order_id=path.get("order", ""),
            address=request.client.host if request.client else "",
            is_order=is_order,
        )
        try:
            async with admin.orders.audited(deed):
                by = await admin.gate.admit(request)
                deed.by, deed.scheme = by.by, by.scheme
                if is_for_operators and not by.is_operator:
                    raise _not_for_viewers(by)
                return await endpoint(request, deed, by)
        except NotAdmitted as error:
            return _turned_away(error)
        except BadOrder as error:
            return problem(400, str(error))
        except (UnknownSaga, UnknownOrder) as error:
            return problem(404, str(error))
        except (AmbiguousSaga, CommandRejected, TooManyPending) as error:
            return problem(409, str(error))
        except (JournalUnavailable, JournalUnreadable) as error:
            retry_after_s = error.retry_after_s if isinstance(error, JournalUnavailable) else None
            return problem(503, str(error), retry_after_s=retry_after_s)

    return guarded


def _not_for_viewers(by: Admitted) -> NotAdmitted:
    return NotAdmitted(
        403, f"{by.by} may look, and give no orders: that takes an operator", by=by.by, scheme=by.scheme
    )


def _turned_away(error: NotAdmitted) -> Response:
    return problem(error.status, str(error), challenges=error.challenges, retry_after_s=error.retry_after_s)
