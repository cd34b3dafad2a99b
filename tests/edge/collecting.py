"""The library with a loan that waits until its book is collected: an event, and a request to cancel."""

from dataclasses import replace
from typing import Any

from edge_library import library

from sagagen.runtime.model.definition import (
    Cancel,
    Event,
    Mesh,
    Method,
    Route,
    Saga,
    StepKind,
    Wait,
)
from sagagen.runtime.scope import EventScope

COLLECTED, CANCEL = "/loans/{name}:collected", "/loans/{loan_id}:cancel"


def collecting() -> Mesh:
    """The library's mesh, in which `lend_book` waits for an event once the book is taken."""
    mesh = library().mesh
    lend = next(saga for saga in mesh.sagas if saga.name == "lend_book")
    waiting = waits(lend)
    sagas = tuple(waiting if saga is lend else saga for saga in mesh.sagas)
    assert waiting.cancel
    routes = (
        Route("POST", COLLECTED, waiting.events[0].method, "lend_book", body="*", event="collected"),
        Route("POST", CANCEL, waiting.cancel.method, "lend_book", event="cancel"),
    )
    return replace(mesh, sagas=sagas, routes=(*mesh.routes, *routes))


def waits(lend: Saga) -> Saga:
    collected = replace(_method("ArchiveBook"), path="/library.v1.DeskService/Collected")
    cancelled = replace(_method("EndLoan"), path="/library.v1.DeskService/Cancel")
    return replace(
        lend,
        digest="waits",
        deadline_s=600.0,
        respond=replace(lend.respond, after="acceptance", status=202, body=None),
        steps=(*lend.steps, Wait("collect", StepKind.COMPENSATABLE, "collected", within_s=300.0)),
        events=(Event("collected", collected, _name, _is_no_stranger, _with_its_saga),),
        cancel=Cancel(cancelled, lambda scope: scope.event.loan_id, "CLIENT_CANCELLED"),
    )


def _method(rpc: str) -> Method[Any, Any]:
    mesh = library().mesh
    found = (
        *(saga.trigger for saga in mesh.sagas),
        *(method for service in mesh.services for method in service.methods),
    )
    return next(method for method in found if method.path.endswith(f"/{rpc}"))


def _name(scope: EventScope[Any, Any]) -> str:
    return scope.event.name


def _is_no_stranger(scope: EventScope[Any, Any]) -> bool:
    return scope.caller != "stranger"


def _with_its_saga(scope: EventScope[Any, Any]) -> Any:
    response = _method("ArchiveBook").response
    return response(name=scope.saga_id, reason=f"{scope.event.reason} for {scope.input.reader}")
