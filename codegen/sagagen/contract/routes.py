"""HTTP routes from google.api.http, and checks of them. Rules: google/api/http.proto and grpc-gateway."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import Descriptor, MethodDescriptor

from sagagen.contract.codes import Code
from sagagen.contract.findings import error, suggest, warning
from sagagen.contract.protos import Path, Protos, http_rule, is_read, is_streaming
from sagagen.contract.services import Services
from sagagen.diagnostics import Diagnostic
from sagagen.runtime.edge.paths.fields import find_field
from sagagen.runtime.edge.paths.template import Template, TemplateError, parse_template
from sagagen.source import Span

Verb = Literal["GET", "PUT", "POST", "DELETE", "PATCH"]
PATTERNS: Mapping[str, int] = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 6}
"""HttpRule's fields and their numbers, which are parts of the paths to places in the file."""
BODY, CUSTOM, ADDITIONAL, RESPONSE_BODY = 7, 8, 11, 12
NAMED = 3
"""So many rpcs without an answer are named; of the others only the number."""
RESERVED = ("sagas", "healthz", "readyz", "metrics", "openapi.json", "docs")
"""First segments of the gateway's own paths."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One verb and path of an rpc."""

    method: MethodDescriptor
    verb: Verb
    template: str
    body: str
    response_body: str
    part: Callable[[int], Span] = field(compare=False, repr=False)
    """The place of a field of its HttpRule, by the field's number."""

    @property
    def name(self) -> str:
        return f"{self.verb} {self.template}"

    @property
    def span(self) -> Span:
        return self.part(PATTERNS[self.verb.lower()])


@dataclass(frozen=True, slots=True)
class Answerers:
    """What answers an rpc: the service that implements it, or the saga that it triggers or is sent to."""

    services: Services
    triggers: frozenset[MethodDescriptor | None]
    """The triggers of all sagas, including those with errors."""
    events: frozenset[MethodDescriptor] = frozenset()
    """Likewise the rpcs of events and cancels."""

    def is_answered(self, method: MethodDescriptor) -> bool:
        return method in self.triggers or method in self.events or self.services.owner(method) is not None

    def is_read(self, method: MethodDescriptor) -> bool:
        owner = self.services.owner(method)
        return is_read(method) if owner is None else owner.method(method).is_read


def read_bindings(protos: Protos, answerers: Answerers) -> tuple[tuple[Binding, ...], tuple[Diagnostic, ...]]:
    """The bindings of answered rpcs, in the order of the files, and what is wrong with the others.

    Protos may come from other projects, so a fault in a route that is not served is not reported; nor are streams
    served.
    """
    bindings: list[Binding] = []
    problems: list[Diagnostic] = []
    for method, rule in _routed(protos):
        if answerers.is_answered(method) and not is_streaming(method):
            for found in _bindings(rule, method, protos, ()):
                (bindings if isinstance(found, Binding) else problems).append(found)  # pyright: ignore
    return tuple(bindings), tuple(problems)


def _routed(protos: Protos) -> Iterator[tuple[MethodDescriptor, HttpRule]]:
    for service in protos.services.values():
        for method in service.methods:
            rule = http_rule(method)
            if rule is not None:
                yield method, rule


def _bindings(
    rule: HttpRule, method: MethodDescriptor, protos: Protos, path: Path
) -> Iterator[Binding | Diagnostic]:
    yield _binding(rule, method, protos, path)
    for index, additional in enumerate(rule.additional_bindings):
        below = (*path, ADDITIONAL, index)
        if path:
            message = "a binding in additional_bindings has additional bindings of its own"
            hint = "put all of them in the outer rule"
            yield error(protos.http_span(method, below), Code.UNSUPPORTED_BINDING, message, hint)
        else:
            yield from _bindings(additional, method, protos, below)


def _binding(rule: HttpRule, method: MethodDescriptor, protos: Protos, path: Path) -> Binding | Diagnostic:
    pattern = rule.WhichOneof("pattern")
    if pattern not in PATTERNS:
        what = "has a custom verb" if pattern else "has a rule without a verb and path"
        message = f'"{method.name}" {what}, which cannot be an HTTP route here'
        hint = "use get, put, post, delete or patch"
        return error(protos.http_span(method, (*path, CUSTOM)), Code.UNSUPPORTED_BINDING, message, hint)
    return Binding(
        method=method,
        verb=cast(Verb, pattern.upper()),
        template=str(getattr(rule, pattern)),
        body=rule.body,
        response_body=rule.response_body,
        part=lambda number: protos.http_span(method, (*path, number)),
    )


def check_bindings(
    bindings: tuple[Binding, ...], protos: Protos, answerers: Answerers
) -> Iterator[Diagnostic]:
    """What is wrong with each binding, and which ones match the same requests."""
    first: dict[tuple[str, tuple[str, ...]], Binding] = {}
    for binding in bindings:
        yield from _check_verb(binding, answerers)
        yield from _check_bodies(binding, protos)
        template = _parse(binding)
        if isinstance(template, Diagnostic):
            yield template
            continue
        yield from _check_variables(binding, template, protos)
        yield from _check_reserved(binding, template)
        other = first.setdefault((binding.verb, template.shape), binding)
        if other is not binding:
            message = f'"{binding.name}" matches the same requests as "{other.name}" ({other.span})'
            yield error(binding.span, Code.ROUTE_COLLISION, message, "change one of the two paths or verbs")


def check_unanswered(protos: Protos, answerers: Answerers) -> Iterator[Diagnostic]:
    """One finding for each proto service: a contract from elsewhere may have hundreds of routes."""
    unanswered: dict[str, list[MethodDescriptor]] = {}
    places: dict[str, Span] = {}
    for method, rule in _routed(protos):
        if not answerers.is_answered(method):
            service = method.containing_service.full_name
            unanswered.setdefault(service, []).append(method)
            places.setdefault(service, protos.http_span(method, _pattern_path(rule)))
    for service, methods in unanswered.items():
        routes, trigger = (
            ("the route", "it triggers") if len(methods) == 1 else ("the routes", "they trigger")
        )
        message = (
            f'nothing answers {routes} of {_few(methods)} in "{service}": '
            f"no service implements it, and {trigger} no saga"
        )
        hint = (
            "implement it, trigger sagas by its rpcs, or leave it as it is: what nothing answers is no route"
        )
        yield warning(places[service], Code.ROUTE_UNANSWERED, message, hint)


def _pattern_path(rule: HttpRule) -> Path:
    return (PATTERNS.get(rule.WhichOneof("pattern") or "", CUSTOM),)


def _few(methods: Sequence[MethodDescriptor]) -> str:
    names = [f'"{method.name}"' for method in methods]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _parse(binding: Binding) -> Template | Diagnostic:
    try:
        return parse_template(binding.template)
    except TemplateError as problem:
        message = f'"{binding.template}" is not a path template: {problem.message} (at character {problem.offset + 1})'
        return error(binding.span, Code.BAD_TEMPLATE, message, "write a path like /orders/{order_id}")


def _check_verb(binding: Binding, answerers: Answerers) -> Iterator[Diagnostic]:
    if binding.verb == "GET" and not answerers.is_read(binding.method):
        yield _get_on_write(binding, answerers)
    if binding.verb in {"GET", "DELETE"} and binding.body:
        message = f'"{binding.name}" names a body, which a {binding.verb} request has not'
        hint = "remove body: fields that are not in the path are read from the query"
        yield error(binding.part(BODY), Code.BODY_NOT_ALLOWED, message, hint)


def _get_on_write(binding: Binding, answerers: Answerers) -> Diagnostic:
    owner = answerers.services.owner(binding.method)
    name = binding.method.name
    if owner is None:
        does = "brings an event to a saga" if binding.method in answerers.events else "triggers a saga"
        message = f'"{name}" {does}, which is a write, but has a GET route'
        return error(
            binding.span, Code.GET_ON_WRITE, message, "use post: whoever sends a GET expects no effect"
        )
    message = f'"{name}" is a write, but has a GET route'
    in_yaml = f"methods: {{ {name}: {{ read: true }} }} of {owner.name} in saga.yaml"
    hint = f"use post; if it only reads, say so: option idempotency_level = NO_SIDE_EFFECTS, or {in_yaml}"
    return error(binding.span, Code.GET_ON_WRITE, message, hint)


def _check_bodies(binding: Binding, protos: Protos) -> Iterator[Diagnostic]:
    request, response = binding.method.input_type, binding.method.output_type
    if binding.body not in {"", "*"} and binding.body not in request.fields_by_name:
        message = f'body names "{binding.body}", which is not a field of {request.name}'
        hint = suggest(binding.body, _fields(request, protos), 'write body: "*"')
        yield error(binding.part(BODY), Code.UNKNOWN_BODY_FIELD, message, hint)
    if binding.response_body and binding.response_body not in response.fields_by_name:
        message = f'response_body names "{binding.response_body}", which is not a field of {response.name}'
        hint = suggest(
            binding.response_body, _fields(response, protos), "remove it: the whole message is the answer"
        )
        yield error(binding.part(RESPONSE_BODY), Code.UNKNOWN_RESPONSE_FIELD, message, hint)


def _check_variables(binding: Binding, template: Template, protos: Protos) -> Iterator[Diagnostic]:
    for variable in template.variables:
        known, unknown = _walk(binding.method.input_type, variable)
        if unknown:
            message = f'the path variable "{variable}" is not a field of {binding.method.input_type.name}'
            hint = (
                suggest(unknown, _fields(known, protos), "name a field of the request")
                if known
                else "name a field of the request"
            )
            yield error(binding.span, Code.UNKNOWN_PATH_FIELD, message, hint)
        elif not _fits_path(binding.method.input_type, variable):
            message = f'the path variable "{variable}" cannot be written as a single text'
            hint = "path variables are single scalars, enums or well-known types with a textual form"
            yield error(binding.span, Code.PATH_FIELD_TYPE, message, hint)


def _walk(message: Descriptor, variable: str) -> tuple[Descriptor | None, str]:
    """The message where a part of a dotted path is missing, and that part; the part is empty if all exist."""
    at: Descriptor | None = message
    for part in variable.split("."):
        field = at.fields_by_name.get(part) if at is not None else None
        if field is None:
            return at, part
        at = None if field.is_repeated else field.message_type
    return at, ""


def _fits_path(message: Descriptor, variable: str) -> bool:
    found = find_field(message, variable)
    return found is not None and not found.last.is_repeated and found.is_text


def _check_reserved(binding: Binding, template: Template) -> Iterator[Diagnostic]:
    if template.segments and template.segments[0] in RESERVED:
        message = f'"{binding.name}" is a path of the gateway itself: /{template.segments[0]} is reserved'
        hint = f"begin the path with anything but {', '.join(RESERVED)}"
        yield error(binding.span, Code.RESERVED_ROUTE, message, hint)


def _fields(message: Descriptor, protos: Protos) -> dict[str, Span]:
    return {field.name: protos.span(field.full_name) for field in message.fields}
