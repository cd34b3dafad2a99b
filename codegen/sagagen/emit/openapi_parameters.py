"""The fields of a request outside its body: in the path, the query and the idempotency header."""

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from sagagen.contract.model import Route, Saga
from sagagen.emit.openapi_names import Taken
from sagagen.emit.openapi_rules import JsonSchema
from sagagen.emit.openapi_schemas import Form, Schemas
from sagagen.runtime.edge.paths.fields import FieldPath, find_field
from sagagen.runtime.edge.paths.template import ANY, ANY_REST, Template, parse_template
from sagagen.runtime.messages.fields import is_map
from sagagen.runtime.model.definition import MAX_KEY_LENGTH

WHOLE_BODY = "*"
KEY_PARAMETER: Mapping[bool, str] = {True: "IdempotencyKey", False: "OptionalIdempotencyKey"}
"""Component names, by whether the key is required."""


def key_parameter(*, is_required: bool) -> JsonSchema:
    what_without = "Required" if is_required else "Optional: without it, every request is a new one"
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": is_required,
        "description": f"Names this request, so that sending it again has no second effect. {what_without}. May be "
        "quoted or not; `X-Idempotency-Key` is the same header.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_KEY_LENGTH,
            "pattern": "^[!#-~](?:[ -~]*[!-~])?$",
            "examples": ["8e03978e-40d5-43e8-bc93-6894a57f9324"],
        },
    }


class Paths:
    """Templates as OpenAPI writes them: every wildcard is a parameter of its own.

    Templates of the same shape are one path, whose parameters have the names of the first.
    """

    def __init__(self) -> None:
        self._by_shape: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {}

    def path(self, route: Route) -> tuple[str, tuple[str, ...]]:
        """The path, and the names of its parameters in order."""
        template = parse_template(route.template)
        shape = tuple(ANY if part == ANY_REST else part for part in template.shape)
        return self._by_shape.setdefault(shape, _written(template))


def _written(template: Template) -> tuple[str, tuple[str, ...]]:
    names = _wildcard_names(template)
    parts = [f"{{{names[at]}}}" if at in names else segment for at, segment in enumerate(template.segments)]
    verb = f":{template.verb}" if template.verb else ""
    return f"/{'/'.join(parts)}{verb}", tuple(names.values())


def _wildcard_names(template: Template) -> dict[int, str]:
    """Position -> name: the field's if it is the only wildcard of its variable, otherwise with a number.

    Without dots, which generators of clients can't use; the name of a path parameter is not sent.
    """
    taken = Taken()
    return {at: taken.allot(name.replace(".", "_")) for at, name in _wishes(template).items()}


def _wishes(template: Template) -> dict[int, str]:
    named: dict[int, str] = {}
    for variable in template.bindings:
        wild = [at for at in range(variable.start, variable.stop) if template.segments[at] in (ANY, ANY_REST)]
        is_whole = len(wild) == 1 and variable.stop - variable.start == 1
        named |= {
            at: variable.path if is_whole else f"{variable.path}_{number}"
            for number, at in enumerate(wild, 1)
        }
    bare = [at for at, part in enumerate(template.segments) if part in (ANY, ANY_REST) and at not in named]
    return dict(sorted((named | {at: f"segment_{at + 1}" for at in bare}).items()))


def path_parameters(route: Route, names: tuple[str, ...], schemas: Schemas) -> Iterator[JsonSchema]:
    template = parse_template(route.template)
    wild = [at for at, part in enumerate(template.segments) if part in (ANY, ANY_REST)]
    for name, at in zip(names, wild, strict=True):
        variable = next((each for each in template.bindings if each.start <= at < each.stop), None)
        is_whole = variable is not None and variable.stop - variable.start == 1
        field = find_field(route.method.input_type, variable.path) if variable and is_whole else None
        schema = schemas.field(field.last, Form.SENT) if field else {"type": "string"}
        has_rest = template.segments[at] == ANY_REST
        yield {
            "name": name,
            "in": "path",
            "required": True,
            **_told(schemas, field, "May contain slashes." if has_rest else ""),
            "schema": {"minLength": 1, **schema} if schema.get("type") == "string" else schema,
        }


def parameter_of(route: Route, names: tuple[str, ...], field: str) -> str | None:
    """The parameter that holds a field of the request, in the path or the query; None if there is none."""
    template = parse_template(route.template)
    wild = [at for at, part in enumerate(template.segments) if part in (ANY, ANY_REST)]
    for name, at in zip(names, wild, strict=True):
        if any((each.start, each.stop, each.path) == (at, at + 1, field) for each in template.bindings):
            return name
    is_elsewhere = route.body in (WHOLE_BODY, field) or field in template.variables
    return None if is_elsewhere else field


def _told(schemas: Schemas, field: FieldPath | None, more: str) -> JsonSchema:
    doc = schemas.docs.get(field.last.full_name, "") if field else ""
    text = " ".join(part for part in (doc, more) if part)
    return {"description": text} if text else {}


def query_parameters(route: Route, schemas: Schemas) -> Iterator[JsonSchema]:
    """Every field that is in neither path nor body, including those of nested messages."""
    if route.body == WHOLE_BODY:
        return
    elsewhere = {*parse_template(route.template).variables, route.body}
    for path in _leaves(route.method.input_type, ()):
        name = ".".join(field.name for field in path)
        if not any(name == taken or name.startswith(f"{taken}.") for taken in elsewhere if taken):
            yield _query_parameter(name, path, schemas)


def _leaves(
    descriptor: Descriptor, before: tuple[FieldDescriptor, ...]
) -> Iterator[tuple[FieldDescriptor, ...]]:
    for field in descriptor.fields:
        path = (*before, field)
        if FieldPath(path).is_text:
            yield path
        elif _can_be_entered(field, before):
            yield from _leaves(_message(field), path)


def _can_be_entered(field: FieldDescriptor, before: tuple[FieldDescriptor, ...]) -> bool:
    """A message that contains itself is followed only once."""
    if not field.message_type or field.is_repeated or is_map(field):
        return False
    seen = {each.message_type.full_name for each in before if each.message_type}
    is_own = field.message_type.file.package != "google.protobuf"
    return is_own and field.message_type.full_name not in seen


def _message(field: FieldDescriptor) -> Descriptor:
    assert field.message_type, "asked of messages only"
    return field.message_type


def _query_parameter(name: str, path: tuple[FieldDescriptor, ...], schemas: Schemas) -> JsonSchema:
    schema = schemas.field(path[-1], Form.SENT)
    is_required = len(path) == 1 and schemas.must_be_sent(path[0])
    parameter: dict[str, Any] = {"name": name, "in": "query", **({"required": True} if is_required else {})}
    return {**parameter, **schemas.described(path[-1].full_name), "schema": schema}


def is_key_required(route: Route) -> bool:
    """An event, and a request to cancel, always need one."""
    return isinstance(route.target, Saga) and (bool(route.event) or route.target.key == "required")
