"""Events, cancels and what handlers are told, where the contract says who calls: the library, in this process."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from collecting import COLLECTED, collecting
from edge_library import Served, library, served
from starlette.exceptions import HTTPException
from starlette.requests import Request
from waiting import eventually_async

from sagagen.runtime import Identity
from sagagen.runtime.model.definition import Mesh, Route, Saga
from sagagen.runtime.model.security import Access, ApiKeyScheme, ClaimType, OidcScheme, Security
from sagagen.runtime.saga.events import EventTaken
from sagagen.runtime.scope import AccessScope, CompensationScope, EventScope
from sagagen.testing import as_caller, as_nobody

SCHEMES = ("customers", "staff")
CLAIMS: Mapping[str, ClaimType] = {"branch": "string", "desks": "list(string)"}
SECURITY = Security(
    (
        OidcScheme(
            "customers",
            "https://id.example",
            "library",
            ("ES256",),
            claims={"branch": "string", "desks": "list(string)"},
        ),
        ApiKeyScheme("staff", "X-Api-Key"),
    ),
    default=SCHEMES,
)
ANN = as_caller("ann", scopes=["lend"], claims={"branch": "north"})


def guarded() -> Mesh:
    """Who collects a loan has the scope `desk` and a desk of the saga's own branch, as the contract would say it."""
    mesh = collecting()
    sagas = tuple(_guarded_saga(saga) if saga.name == "lend_book" else saga for saga in mesh.sagas)
    routes = tuple(replace(route, access=_access(route)) for route in mesh.routes)
    return replace(mesh, sagas=sagas, routes=routes, security=SECURITY)


def _access(route: Route) -> Access:
    if route.template == COLLECTED:
        return Access(SCHEMES, ("desk",))
    if route.method.path.endswith("/GetBook"):
        return Access(SCHEMES, allow=_is_own_book, reads_response=True)
    if route.method.path.endswith("/CreateBook"):
        return Access(SCHEMES, allow=lambda scope: scope.request.parent == f"shelves/{scope.caller}")
    if route.method.path.endswith("/LendBook"):
        return Access(SCHEMES, ("lend",))
    return Access(()) if route.method.path.endswith("/ListBooks") else Access(SCHEMES)


def _is_own_book(scope: AccessScope[Any, Any]) -> bool:
    return scope.caller in scope.response.book.name


def _guarded_saga(saga: Saga) -> Saga:
    taken, waits = saga.steps
    returned = library().handlers.ReturnBookRequest

    def undo(scope: CompensationScope[Any]) -> Any:
        return returned(name=f"{scope.input.name} to {scope.claim('branch', str)}")

    def at_own_desk(scope: EventScope[Any, Any]) -> bool:
        return scope.input.reader in scope.claim_list("desks")

    step: Any = taken
    assert step.compensation
    (event,) = saga.events
    step = replace(step, compensation=replace(step.compensation, request=undo))
    return replace(saga, steps=(step, waits), events=(replace(event, allow=at_own_desk),))


def desk(*readers: str, scopes: tuple[str, ...] = ("desk",)) -> dict[str, str]:
    return as_caller("desk-1", scopes=scopes, claims={"desks": readers})


async def lend(edge: Served, headers: dict[str, str] = ANN, key: str = "1") -> httpx.Response:
    sent = {**headers, "idempotency-key": key}
    return await edge.client.post("/loans", json={"name": "b", "reader": "ann"}, headers=sent)


async def send(edge: Served, saga_id: str, what: str, headers: dict[str, str]) -> tuple[int, str]:
    body = {"reason": "early"} if what == "collected" else None
    answer = await edge.client.post(
        f"/loans/{saga_id}:{what}", json=body, headers={**headers, "idempotency-key": "k"}
    )
    return answer.status_code, answer.json().get("reason", "")


async def status(edge: Served, saga_id: str) -> str:
    view = await edge.engine.describe(saga_id)
    assert view
    return "WAITING" if view.steps[1].status == "WAITING" else str(view.status)


async def test_an_event_needs_the_routes_rule_and_its_own(tmp_path: Path) -> None:
    async with served(tmp_path, mesh=guarded()) as edge:
        assert (await lend(edge, as_nobody())).status_code == 401
        assert (await lend(edge, as_caller("ann", scopes=["desk"]))).status_code == 403
        loan = (await lend(edge)).json()["id"]
        await eventually_async("it to wait", lambda: status(edge, loan), lambda now: now == "WAITING")
        for headers, expected in (
            (as_nobody(), (401, "CREDENTIALS_MISSING")),
            (desk("ann", scopes=()), (403, "SCOPE_MISSING")),
            (desk("bob"), (403, "NOT_ALLOWED")),
            (desk(), (403, "NOT_ALLOWED")),
            (ANN, (403, "SCOPE_MISSING")),
            (desk("ann"), (200, "early for ann")),
            (desk("ann"), (200, "early for ann")),
            (desk("bob"), (200, "early for ann")),  # the same caller's repeat, whatever the claims are now
            (as_caller("desk-2", scopes=["desk"], claims={"desks": ["bob"]}), (403, "NOT_ALLOWED")),
        ):
            assert await send(edge, loan, "collected", headers) == expected
        logged = await edge.engine.find(loan)
        assert logged
        kept = [row for row in logged.rows if isinstance(row, EventTaken)]
        assert [(row.caller, row.claims) for row in kept] == [("desk-1", '{"desks":["ann"]}')]


async def test_only_who_started_a_saga_cancels_it_and_recovery_knows_their_claims(tmp_path: Path) -> None:
    async with served(tmp_path, mesh=guarded()) as edge:
        loan = (await lend(edge)).json()["id"]
        await eventually_async("it to wait", lambda: status(edge, loan), lambda now: now == "WAITING")
        assert await send(edge, loan, "cancel", as_nobody()) == (401, "CREDENTIALS_MISSING")
        assert await send(edge, loan, "cancel", as_caller("bob")) == (403, "NOT_ALLOWED")
        assert edge.shelf.claims == [{"branch": "north", "desks": ()}], (
            "call.claims has what the contract names"
        )
        assert edge.shelf.callers == ["ann"]
    async with served(tmp_path, mesh=guarded()) as edge:
        assert (await lend(edge, as_caller("bob", scopes=["lend"]))).json()["id"] != loan
        assert await send(edge, loan, "cancel", ANN | {"x": "y"}) == (202, "")
        await eventually_async("its end", lambda: status(edge, loan), lambda now: now == "COMPENSATED")
        assert "b to north" in edge.shelf.returned, "built from the claims that the log has"


async def test_a_saga_that_nobody_in_particular_started_is_seen_by_who_knows_its_id(tmp_path: Path) -> None:
    mesh = guarded()
    routes = tuple(
        replace(route, access=Access(())) if route.method.path.endswith("/LendBook") else route
        for route in mesh.routes
    )
    async with served(tmp_path, mesh=replace(mesh, routes=routes)) as edge:
        loan = (await lend(edge, as_nobody())).json()["id"]
        seen = [await edge.client.get(f"/sagas/{loan}", headers=headers) for headers in (as_nobody(), ANN)]
        assert [(each.status_code, each.json().get("reason")) for each in seen] == [
            (200, None),
            (404, "SAGA_NOT_FOUND"),
        ]
        unknown = await edge.client.get("/sagas/none", headers=as_nobody())
        assert (unknown.status_code, unknown.json()["reason"]) == (401, "CREDENTIALS_MISSING")


async def test_who_may_not_see_a_thing_gets_what_is_not_there(tmp_path: Path) -> None:
    async with served(tmp_path, mesh=guarded()) as edge:

        async def read(name: str, caller: str) -> tuple[int, str]:
            answer = await edge.client.get(f"/v1/shelves/1/books/{name}", headers=as_caller(caller))
            return answer.status_code, answer.json().get("detail", "")

        assert (await read("ann-1", "ann"))[0] == 200
        assert await read("ann-1", "bob") == await read("missing", "bob")
        assert (await read("missing", "ann"))[0] == 404
        assert (await read("down", "bob"))[0] == 503, "what says nothing of the thing stays as it is"

        async def create(shelf: str) -> tuple[int, str]:
            body = {"title": "x"}
            answer = await edge.client.post(
                f"/v1/shelves/{shelf}/books?book_id=1", json=body, headers=as_caller("ann")
            )
            return answer.status_code, answer.json().get("reason", "")

        assert await create("bob") == (403, "NOT_ALLOWED")
        assert edge.shelf.created == 0, "asked before the service was"
        assert (await create("ann"))[0] == 200


async def test_the_identity_hook_refines_or_refuses_what_the_schemes_found(tmp_path: Path) -> None:
    seen: list[Identity] = []

    async def hook(request: Request, identity: Identity) -> Identity:
        seen.append(identity)
        if identity.caller == "banned":
            raise HTTPException(403, "not today")
        if "x-webhook" in request.headers:
            return replace(identity, caller="webhook", claims={"branch": "south"})
        return identity

    async with served(tmp_path, mesh=guarded(), identity=hook) as edge:
        assert (await lend(edge, as_caller("banned"))).status_code == 403
        assert (await lend(edge)).status_code == 202
        mine = (await edge.client.get("/sagas", headers=ANN)).json()["sagas"]
        assert len(mine) == 1
        assert (await edge.client.get("/sagas", headers=ANN | {"x-webhook": "1"})).json()["sagas"] == []
        seen.clear()
        await edge.client.get("/v1/shelves/1/books", headers=ANN)
        assert [each.caller for each in seen] == ["anonymous"], "a public route reads no credentials"
