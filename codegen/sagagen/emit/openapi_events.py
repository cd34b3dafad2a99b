"""What reaches a saga while it runs: events, and requests to cancel it."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.model import Event, Mesh, Route, Saga, ValueExpr, Wait
from sagagen.emit.openapi_answers import content, headers, named, problems, result
from sagagen.emit.openapi_parameters import parameter_of
from sagagen.emit.openapi_rules import JsonSchema
from sagagen.emit.openapi_schemas import SCHEMAS, Schemas
from sagagen.emit.saga_tree import CANCEL, every, incoming
from sagagen.expression.tree import EventMessage, Field

_UNKNOWN = (
    "No saga of this id is known here (`UNKNOWN_SAGA`). If it has just been accepted, send the event again after "
    "Retry-After."
)
_ELSEWHERE = "another gateway has the saga (`SAGA_ELSEWHERE`; send it there, or again after Retry-After)."
_WHY: Mapping[int, str] = {
    403: "The caller may not send this event to that saga.",
    404: _UNKNOWN,
    409: "Nothing was taken: the saga is over or being undone (`SAGA_OVER`); or nothing can wait for the event any "
    f"more, or what waits has one (`NOT_EXPECTED`); or {_ELSEWHERE}",
    422: "The key was used before, with a different event.",
    503: "Nothing was taken: send the same event with the same key again after Retry-After.",
}
_WHY_NOT_CANCELLED: Mapping[int, str] = {
    403: "The caller may not cancel that saga.",
    404: _UNKNOWN.replace("the event", "the request"),
    409: "It is not cancelled: it is over (`SAGA_OVER`); or it can't be undone any more, since its pivot was attempted "
    f"(`TOO_LATE`); or {_ELSEWHERE}",
    422: "The key was used before, with a different request.",
    503: "Nothing was taken: send the same request with the same key again after Retry-After.",
}
_TEMPORARY = frozenset({404, 409, 503})


def told(route: Route, mesh: Mesh) -> str:
    """What a request of this route does."""
    sagas = [saga for saga in mesh.sagas if any(rpc is route.method for rpc in incoming(saga))]
    names = " or ".join(f"`{saga.name}`" for saga in sagas)
    if route.event == CANCEL:
        return f"Cancels a saga {names}, as long as its pivot has not been attempted: what it did is undone."
    return f"Brings an event `{route.event}` to a saga {names} that runs."


def event_answers(route: Route, schemas: Schemas) -> JsonSchema:
    """The answers of a route that brings an event."""
    return {
        "200": {
            "description": "The event is kept, and no saga loses it. The same key gets the same answer.",
            "headers": headers("Idempotency-Replayed", "Traceparent"),
            "content": content(result(route, schemas)),
        },
        **_problems(route, _WHY),
    }


def cancel_answers(route: Route) -> JsonSchema:
    """The answers of a route that cancels a saga."""
    return {
        "202": {
            "description": "The saga is cancelled: it turns back, and its pivot will not be called.",
            "headers": headers("Location", "Traceparent"),
            "content": content({"$ref": SCHEMAS + named("AcceptedSaga")}),
        },
        **_problems(route, _WHY_NOT_CANCELLED),
    }


def _problems(route: Route, why: Mapping[int, str]) -> JsonSchema:
    of_body = (413, 415) if route.body else ()
    return problems(400, 403, 404, 408, 409, *of_body, 422, 503, why=why, temporary=_TEMPORARY)


@dataclass(frozen=True, slots=True)
class Operation:
    """How a request is sent."""

    id: str
    route: Route
    parameters: tuple[str, ...]
    """Of its path."""


def links(saga: Saga, operations: Mapping[MethodDescriptor, Operation]) -> JsonSchema:
    """From the answer of a route that starts a saga to what may be sent to it, if that has a route."""
    found = {
        event.name: _link(operations[event.rpc], event.saga_id, _ends(saga, event))
        for event in saga.events
        if event.rpc in operations
    }
    if saga.cancel and saga.cancel.rpc in operations:
        found[CANCEL] = _link(operations[saga.cancel.rpc], saga.cancel.saga_id, "Cancels the saga.")
    return found


def _link(operation: Operation, saga_id: ValueExpr, description: str) -> JsonSchema:
    name = None
    match saga_id.root:
        case Field(EventMessage(), field):
            name = parameter_of(operation.route, operation.parameters, field.name)
        case _:
            pass
    known = {"parameters": {name: "$response.body#/id"}} if name else {}
    return {"operationId": operation.id, **known, "description": description}


def _ends(saga: Saga, event: Event) -> str:
    waits = [
        f"`{each.name}`" for each in every(saga.steps) if isinstance(each, Wait) and each.event == event.name
    ]
    return f"The event that {' and '.join(waits)} wait{'s' if len(waits) == 1 else ''} for."
