"""The mesh's HTTP edge as an OpenAPI 3.1 document: a pure function of the contract."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from sagagen.contract.model import Mesh, Route, Saga
from sagagen.emit import openapi_answers as answers
from sagagen.emit import openapi_events as events
from sagagen.emit.openapi_events import Operation
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
from sagagen.emit.openapi_security import guarded, guarded_by_default, security_schemes
from sagagen.emit.saga_tree import CANCEL

OPENAPI = "3.1.0"
_END_OF_SENTENCE = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<=[.!?])\s+(?=[^a-z])|\n\s*\n")
"""A sentence begins with no small letter; where none ends, the paragraph does."""


def openapi(mesh: Mesh) -> JsonSchema:
    """The whole document, ready to be written as JSON."""
    schemas = Schemas(mesh.docs)
    paths = _paths(mesh, schemas)
    own, headers, responses = answers.components(is_guarded=_is_guarded(mesh))
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
            **security_schemes(mesh.security),
        },
    }
    _rename_references(document, names)
    return document


def _is_guarded(mesh: Mesh) -> bool:
    """Some route, or the gateway's own, asks who calls."""
    asks = [route.access is not None and not route.access.is_public for route in mesh.routes]
    return mesh.security is not None and (bool(mesh.security.default) or any(asks))


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
    operations = _Operations(mesh, schemas)
    for path, operation in operations.all:
        is_read = _is_read(operation.route)
        described = guarded(operations.described(operation), operation.route, mesh, is_read=is_read)
        paths.setdefault(path, {}).setdefault(operation.route.verb.lower(), described)
    paths["/sagas"] = {"get": guarded_by_default(answers.list_operation(), mesh.security)}
    paths["/sagas/{id}"] = {"get": guarded_by_default(answers.watch_operation(), mesh.security)}
    return dict(sorted(paths.items()))


class _Operations:
    def __init__(self, mesh: Mesh, schemas: Schemas) -> None:
        self._mesh = mesh
        self._schemas = schemas
        self.all = tuple(_operations(mesh))
        """With their paths, in the order of the routes."""
        self._firsts = {operation.route.method: operation for _, operation in reversed(self.all)}
        """For each rpc that of its first route."""

    def described(self, operation: Operation) -> JsonSchema:
        schemas, route = self._schemas, operation.route
        body, told = _body(route, schemas), self._told(route)
        return {
            "operationId": operation.id,
            "tags": [_tag(route)],
            "summary": first_sentence(told),
            "description": told,
            "parameters": [
                *path_parameters(route, operation.parameters, schemas),
                *query_parameters(route, schemas),
                *_key(route),
            ],
            **({"requestBody": body} if body else {}),
            "responses": self._answers(route),
            **({"deprecated": True} if route.method.GetOptions().deprecated else {}),
        }

    def _told(self, route: Route) -> str:
        """What the contract says about an rpc, otherwise what is known of it; of an event both."""
        doc = self._schemas.docs.get(route.method.full_name, "")
        if doc and not route.event:
            return doc
        return "\n\n".join(part for part in (doc, self._known(route)) if part)

    def _known(self, route: Route) -> str:
        if route.event:
            return events.told(route, self._mesh)
        if route.starts:
            return f"Starts the saga `{route.target.name}`."
        service, method = route.method.containing_service, route.method
        return f"Calls `{service.full_name}/{method.name}` of `{route.target.name}`."

    def _answers(self, route: Route) -> JsonSchema:
        if route.event == CANCEL:
            return events.cancel_answers(route)
        if route.event:
            return events.event_answers(route, self._schemas)
        if saga := route.starts:
            return answers.start_answers(route, saga, self._schemas, events.links(saga, self._firsts))
        return answers.call_answers(route, self._schemas, is_read=_is_read(route))


def first_sentence(text: str) -> str:
    """As plain text of one line, which is what lists of operations and names of buttons are made of."""
    sentence = _END_OF_SENTENCE.split(text.strip(), maxsplit=1)[0]
    return " ".join(sentence.replace("`", "").split()).removesuffix(".")


def _operations(mesh: Mesh) -> Iterator[tuple[str, Operation]]:
    written = Paths()
    for route, operation_id in zip(
        mesh.routes, operation_ids(mesh.routes, [answers.LIST, answers.WATCH]), strict=True
    ):
        path, names = written.path(route)
        yield path, Operation(operation_id, route, names)


def _keys(mesh: Mesh) -> Iterator[tuple[str, JsonSchema]]:
    """The forms of the idempotency key that routes use."""
    used = {is_key_required(route) for route in mesh.routes if not _is_read(route)}
    for needed, name in KEY_PARAMETER.items():
        if needed in used:
            yield name, key_parameter(is_required=needed)


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
