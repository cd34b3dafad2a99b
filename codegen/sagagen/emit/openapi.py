"""The mesh's HTTP edge as an OpenAPI 3.1 document: a pure function of the contract."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from sagagen.contract.model import Mesh, Route, Saga
from sagagen.emit import openapi_answers as answers
from sagagen.emit.openapi_names import component_names, operation_ids
from sagagen.emit.openapi_parameters import (
    KEY_PARAMETER,
    WHOLE_BODY,
    Paths,
    is_key_required,
    key_parameter,
    path_parameters,
    query_parameters,
)
from sagagen.emit.openapi_rules import JsonSchema
from sagagen.emit.openapi_schemas import INPUT, SCHEMAS, Form, Schemas

OPENAPI = "3.1.0"


def openapi(mesh: Mesh) -> JsonSchema:
    """The whole document, ready to be written as JSON."""
    schemas = Schemas(mesh.docs)
    paths = _paths(mesh, schemas)
    own, headers, responses = answers.components()
    components = {**own, **dict(schemas.components())}
    names = _names(schemas, components)
    document: JsonSchema = {
        "openapi": OPENAPI,
        "servers": [{"url": "/", "description": "The gateway that serves this document."}],
        "info": {"title": mesh.project, "version": "v1", "description": _description(mesh)},
        "tags": [*_tags(mesh), {"name": "sagas", "description": "Accepted sagas and their progress."}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted((names[name], schema) for name, schema in components.items())),
            "headers": headers,
            "parameters": dict(_keys(mesh)),
            "responses": responses,
        },
    }
    _rename_references(document, names)
    return document


def _description(mesh: Mesh) -> str:
    return (
        f"The HTTP edge of {mesh.project}. JSON is canonical ProtoJSON with the proto's field names; requests may also "
        "use lowerCamelCase. Errors are problem documents (RFC 9457)."
    )


def _tags(mesh: Mesh) -> Iterator[JsonSchema]:
    for name in dict.fromkeys(_tag(route) for route in mesh.routes):
        doc = mesh.docs.get(name)
        yield {"name": name, **({"description": doc} if doc else {})}


def _tag(route: Route) -> str:
    return route.method.containing_service.full_name


def _paths(mesh: Mesh, schemas: Schemas) -> JsonSchema:
    paths: dict[str, dict[str, Any]] = {}
    written = Paths()
    for route, operation_id in zip(mesh.routes, operation_ids(mesh.routes, [answers.WATCH]), strict=True):
        path, names = written.path(route)
        operation = _operation(route, names, operation_id, schemas)
        paths.setdefault(path, {}).setdefault(route.verb.lower(), operation)
    paths["/sagas/{id}"] = {"get": answers.watch_operation()}
    return dict(sorted(paths.items()))


def _operation(route: Route, names: tuple[str, ...], operation_id: str, schemas: Schemas) -> JsonSchema:
    method = route.method
    body = _body(route, schemas)
    return {
        "operationId": operation_id,
        "tags": [_tag(route)],
        "description": _told(route, schemas),
        "parameters": [
            *path_parameters(route, names, schemas),
            *query_parameters(route, schemas),
            *_key(route),
        ],
        **({"requestBody": body} if body else {}),
        "responses": _answers(route, schemas),
        **({"deprecated": True} if method.GetOptions().deprecated else {}),
    }


def _keys(mesh: Mesh) -> Iterator[tuple[str, JsonSchema]]:
    """The forms of the idempotency key that routes use."""
    used = {is_key_required(route) for route in mesh.routes if not _is_read(route)}
    for needed, name in KEY_PARAMETER.items():
        if needed in used:
            yield name, key_parameter(is_required=needed)


def _told(route: Route, schemas: Schemas) -> str:
    """What the contract says about an rpc, otherwise what is known of it."""
    method, target = route.method, route.target
    if doc := schemas.docs.get(method.full_name):
        return doc
    name = f"`{method.containing_service.full_name}/{method.name}`"
    return (
        f"Starts the saga `{target.name}`."
        if isinstance(target, Saga)
        else f"Calls {name} of `{target.name}`."
    )


def _key(route: Route) -> Iterator[JsonSchema]:
    if not _is_read(route):
        yield {"$ref": f"#/components/parameters/{KEY_PARAMETER[is_key_required(route)]}"}


def _is_read(route: Route) -> bool:
    return not isinstance(route.target, Saga) and route.target.method(route.method).is_read


def _body(route: Route, schemas: Schemas) -> JsonSchema:
    if not route.body:
        return {}
    request = route.method.input_type
    if route.body == WHOLE_BODY:
        schema = schemas.reference(request, Form.SENT)
    else:
        schema = schemas.field(request.fields_by_name[route.body], Form.SENT)
    is_required = route.body != WHOLE_BODY or bool(schemas.message(request, Form.SENT).get("required"))
    return {"required": is_required, "content": {answers.JSON: {"schema": schema}}}


def _answers(route: Route, schemas: Schemas) -> JsonSchema:
    if isinstance(route.target, Saga):
        return answers.start_answers(route, route.target, schemas)
    return answers.call_answers(route, schemas, is_read=_is_read(route))


def _names(schemas: Schemas, components: Iterable[str]) -> Mapping[str, str]:
    """What each component will be called. A message that is only ever sent needs no second name."""
    sent = {name for name, form in schemas.used if form is Form.SENT}
    answered = {name for name, form in schemas.used if form is Form.ANSWERED}
    single = {name + INPUT: name for name in sent - answered}
    own = answers.own_names()
    return component_names(own, {name: single.get(name, name) for name in components if name not in own})


def _rename_references(document: JsonSchema, names: Mapping[str, str]) -> None:
    """Rename the components that something refers to, in place."""
    renamed = {SCHEMAS + old: SCHEMAS + new for old, new in names.items()}
    waiting: list[Any] = [document]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            members = cast(dict[str, Any], found)
            reference = members.get("$ref")
            if isinstance(reference, str) and reference in renamed:
                members["$ref"] = renamed[reference]
            found = list(members.values())
        waiting += [item for item in found if isinstance(item, dict | list)]
