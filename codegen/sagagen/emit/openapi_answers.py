"""What the gateway answers: the contract's messages, problem documents, and the saga behind an answer."""

from collections.abc import Collection, Mapping

from sagagen.contract.model import Route, Saga
from sagagen.emit.docs_text import in_words
from sagagen.emit.openapi_rules import JsonSchema
from sagagen.emit.openapi_schemas import SCHEMAS, Form, Schemas
from sagagen.runtime.edge.problem import CANCELLED_STATUS, MAX_VIOLATIONS, PROBLEM_JSON, phrase
from sagagen.runtime.model.definition import AT_ACCEPTANCE, final_status
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.search import CALLER_PAGE, MAX_CALLER_PAGE

JSON = "application/json"
WATCH = "getSaga"
"""operationId of GET /sagas/{id}."""
LIST = "listSagas"
"""operationId of GET /sagas."""

_HEADERS: Mapping[str, JsonSchema] = {
    "Idempotency-Replayed": {
        "description": "`true` if this is the answer to an earlier request with the same key.",
        "schema": {"enum": ["true"]},
    },
    "Link": {
        "description": 'Where to watch the saga: `</sagas/{id}>; rel="monitor"`.',
        "schema": {"type": "string"},
    },
    "Location": {
        "description": "Where to watch the saga: `/sagas/{id}`.",
        "schema": {"type": "string", "pattern": "^/sagas/"},
    },
    "Retry-After": {
        "description": "Send the same request again after this many seconds.",
        "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"},
    },
    "Traceparent": {
        "description": "The trace of this request (W3C Trace Context).",
        "schema": {"type": "string"},
    },
}
_HEADERS_OF_SECURITY: Mapping[str, JsonSchema] = {
    "WWW-Authenticate": {
        "description": "What would do, one challenge for each scheme (RFC 9110, 11.6.1).",
        "schema": {"type": "string"},
    },
}
_WHY: Mapping[int, str] = {
    400: "The request is malformed, breaks a rule, or was refused (`reason` says which).",
    401: "The gateway does not know who sent the request.",
    404: "The requested resource does not exist.",
    408: "The request took too long to arrive.",
    409: "The first request with this key is unfinished (send this one again after Retry-After), or another gateway "
    "has it, or the key has expired.",
    413: "The request is too large: `limits.body` of the contract, 64 KiB unless it says more.",
    415: "The body is compressed, or no JSON.",
    422: "The key was used before, with a different request.",
    429: "The service is overloaded.",
    502: "A service failed, so everything is undone. This answer is final: to try again, use a new key.",
    503: "Nothing was accepted: send the same request with the same key again.",
    504: "The service did not answer in time.",
}
_TEMPORARY = frozenset({409, 503})


def start_answers(route: Route, saga: Saga, schemas: Schemas, links: JsonSchema) -> JsonSchema:
    """The answers of a route that starts a saga. `links`: to what reaches it while it runs."""
    at_once = saga.respond.after == AT_ACCEPTANCE
    return {
        str(final_status(saga.respond.status)): {
            "description": "The saga's final answer." if at_once else "The saga's answer.",
            "headers": headers("Idempotency-Replayed", "Link", "Traceparent"),
            "content": content(result(route, schemas)),
        },
        "202": {
            "description": "Accepted: the saga goes on. Send the same request and key later for the final answer.",
            "headers": headers("Location", "Traceparent"),
            **_accepted(route, saga, schemas, links),
        },
        **problems(400, 408, 409, 413, 415, 422, 502, 503, why=_why_not_started(saga)),
    }


def _why_not_started(saga: Saga) -> Mapping[int, str]:
    why: dict[int, str] = {}
    if saga.start is not None and saga.start.after_s is None:
        why[400] = f"{_WHY[400]} So is a start later than {in_words(saga.start.at_most_s)} from now."
    if saga.cancel is not None:
        why[CANCELLED_STATUS] = (
            f"{_WHY[CANCELLED_STATUS]} With the reason `{saga.cancel.reason}` it was cancelled, and that is final."
        )
    return why


def _accepted(route: Route, saga: Saga, schemas: Schemas, links: JsonSchema) -> JsonSchema:
    """What the first answer holds: the saga, or what the contract says of it where that is known at once."""
    if saga.respond.is_known_at_once:
        return {"content": content(result(route, schemas))}
    link = {
        "operationId": WATCH,
        "parameters": {"id": "$response.body#/id"},
        "description": "The progress of the saga.",
    }
    return {"content": content({"$ref": SCHEMAS + named("AcceptedSaga")}), "links": {**links, "saga": link}}


def call_answers(route: Route, schemas: Schemas, *, is_read: bool) -> JsonSchema:
    """The answers of a route that a service answers."""
    replayed = () if is_read else ("Idempotency-Replayed",)
    written = () if is_read else (409,)
    return {
        "200": {
            "description": "The service's answer.",
            "headers": headers(*replayed, "Traceparent"),
            "content": content(result(route, schemas)),
        },
        **problems(400, 404, 408, *written, *((413, 415) if route.body else ()), 429, 503, 504),
    }


def watch_operation() -> JsonSchema:
    return {
        "operationId": WATCH,
        "summary": "The state of a saga",
        "description": "Shows a saga to the caller that started it, without payloads.",
        "tags": ["sagas"],
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        ],
        "responses": {
            "200": {
                "description": "The saga.",
                "headers": headers("Traceparent"),
                "content": content({"$ref": SCHEMAS + named("Saga")}),
            },
            **problems(400, 404, 408, 503),
        },
    }


def list_operation() -> JsonSchema:
    page_size: JsonSchema = {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_CALLER_PAGE,
        "default": CALLER_PAGE,
    }
    return {
        "operationId": LIST,
        "summary": "The sagas of a caller",
        "description": "Lists the sagas that the caller has started, the newest first, without payloads. A page may "
        "hold fewer than `page_size`, also none, though there are more: `next_page_token` says whether there are.",
        "tags": ["sagas"],
        "parameters": [
            {
                "name": "status",
                "in": "query",
                "description": "Only sagas of these statuses; without it, of any.",
                "schema": {"type": "array", "items": _STATUS},
                "explode": False,
            },
            {"name": "page_size", "in": "query", "schema": page_size},
            {
                "name": "page_token",
                "in": "query",
                "description": "`next_page_token` of the page before.",
                "schema": _TEXT,
            },
        ],
        "responses": {
            "200": {
                "description": "A page of sagas.",
                "headers": headers("Traceparent"),
                "content": content({"$ref": SCHEMAS + named("SagaPage")}),
            },
            **problems(400, 401, 408, 503),
        },
    }


def components(*, is_guarded: bool) -> tuple[JsonSchema, JsonSchema, JsonSchema]:
    """Schemas, headers and responses that are the same for every mesh. `is_guarded`: some answer is a 401."""
    schemas: JsonSchema = {
        named("AcceptedSaga"): _ACCEPTED,
        named("Problem"): _PROBLEM,
        named("Saga"): _SAGA,
        named("SagaPage"): _PAGE,
    }
    known = {**_HEADERS, **(_HEADERS_OF_SECURITY if is_guarded else {})}
    return schemas, known, {"Problem": _problem("Any other error.")}


def own_names() -> JsonSchema:
    """By the name that they have until then, the names that components of our own will have."""
    return {named(name): f"sagagen.{name}" for name in ("AcceptedSaga", "Problem", "Saga", "SagaPage")}


def named(name: str) -> str:
    """What a component of our own is called until all are named. No proto name has a hyphen."""
    return f"sagagen-{name}"


def result(route: Route, schemas: Schemas) -> JsonSchema:
    response = route.method.output_type
    if not route.response_body:
        return schemas.reference(response, Form.ANSWERED)
    return schemas.field(response.fields_by_name[route.response_body], Form.ANSWERED)


def problems(
    *statuses: int, why: Mapping[int, str] = _WHY, temporary: Collection[int] = _TEMPORARY
) -> JsonSchema:
    """`why`: what a status means, where that is something else than usual."""
    return {
        **{
            str(status): _problem(
                why.get(status) or _WHY[status], *(("Retry-After",) if status in temporary else ())
            )
            for status in statuses
        },
        "default": {"$ref": "#/components/responses/Problem"},
    }


def _problem(description: str, *more: str) -> JsonSchema:
    return {
        "description": description,
        "headers": headers(*more, "Traceparent"),
        "content": {PROBLEM_JSON: {"schema": {"$ref": SCHEMAS + named("Problem")}}},
    }


def refused(known: JsonSchema | None, why: str, *more: str) -> JsonSchema:
    """A problem, or one more reason for the one that is known. `more`: its headers besides the usual."""
    if known is None:
        return _problem(why, *more)
    return {
        **known,
        "description": f"{known['description']} {why}",
        "headers": {**headers(*more), **known["headers"]},
    }


def content(schema: JsonSchema) -> JsonSchema:
    return {JSON: {"schema": schema}}


def headers(*names: str) -> JsonSchema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _object(required: str, **properties: JsonSchema) -> JsonSchema:
    return {"type": "object", "properties": properties, "required": required.split()}


_TEXT: JsonSchema = {"type": "string"}
_NULLABLE: JsonSchema = {"type": ["string", "null"]}
_TIME: JsonSchema = {"type": "string", "format": "date-time"}
_NULLABLE_TIME: JsonSchema = {"type": ["string", "null"], "format": "date-time"}
_ACCEPTED = _object(
    "id saga version trace_id", id=_TEXT, saga=_TEXT, version={"type": "integer"}, trace_id=_TEXT
)
_STEP = _object(
    "name path status attempts compensation_attempts error event since until",
    name={**_TEXT, "description": "Of an iteration of a loop with its key: `reserve[margherita]`."},
    path={
        "type": "array",
        "items": _TEXT,
        "description": "The blocks, branches and the loop that it stands in, outermost first.",
    },
    status=_TEXT,
    attempts={"type": "integer", "minimum": 0, "description": "Of its action."},
    compensation_attempts={"type": "integer", "minimum": 0},
    error={**_NULLABLE, "description": "The last error."},
    event={**_NULLABLE, "description": "What it waits for, where it waits for an event."},
    since={**_NULLABLE_TIME, "description": "Since when it waits."},
    until={**_NULLABLE_TIME, "description": "Until when it waits."},
)
_STATUS: JsonSchema = {"enum": [status.value for status in SagaStatus]}
_SAGA = _object(
    "id saga version status trace_id created_at updated_at waiting_for starts_at incomplete unconsumed steps",
    id=_TEXT,
    saga=_TEXT,
    version={"type": "integer"},
    status=_STATUS,
    trace_id=_TEXT,
    created_at=_TIME,
    updated_at=_TIME,
    waiting_for={**_NULLABLE, "description": "What must be deployed before the saga can go on."},
    starts_at={
        **_NULLABLE_TIME,
        "description": "When its first step begins, where that is later than it was accepted.",
    },
    incomplete={
        "type": "array",
        "items": _TEXT,
        "description": "Steps that were given up; they may have happened.",
    },
    unconsumed={
        "type": "array",
        "items": _TEXT,
        "description": "Events that were taken and that no step has waited for yet, the oldest first.",
    },
    steps={"type": "array", "items": _STEP},
)
_SUMMARY = _object(
    "id saga version status trace_id created_at updated_at",
    id=_TEXT,
    saga=_TEXT,
    version={"type": "integer"},
    status=_STATUS,
    trace_id=_TEXT,
    created_at=_TIME,
    updated_at=_TIME,
)
_PAGE = _object(
    "sagas next_page_token",
    sagas={"type": "array", "items": _SUMMARY, "maxItems": MAX_CALLER_PAGE},
    next_page_token={**_NULLABLE, "description": "`page_token` of the next page; null after the last one."},
)
_VIOLATION = _object("field description", field=_TEXT, description=_TEXT, rule=_TEXT)
_PROBLEM: JsonSchema = {
    **_object(
        "type title status",
        type={"type": "string", "format": "uri-reference"},
        title={"type": "string", "examples": [phrase(404)]},
        status={"type": "integer", "minimum": 400, "maximum": 599},
        detail=_TEXT,
        code={
            "type": "string",
            "description": "The name of the gRPC status code.",
            "examples": ["NOT_FOUND"],
        },
        reason={
            "type": "string",
            "description": "A token for programs to branch on.",
            "pattern": "^[A-Z][A-Z0-9_]*$",
        },
        step={"type": "string", "description": "The step that failed."},
        saga_id=_TEXT,
        trace_id=_TEXT,
        violations={"type": "array", "maxItems": MAX_VIOLATIONS, "items": _VIOLATION},
    ),
    "description": "A problem document (RFC 9457).",
}
