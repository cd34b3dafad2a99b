"""From an HTTP request to the request message of an rpc: grpc-gateway's transcoding, compiled once a route.

The body is read first, then the query, then the path, whose variables win: where another part of the request disagrees
with one, the request is refused rather than one of the two ignored.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from sagagen.runtime.edge.json.findings import RULE
from sagagen.runtime.edge.json.protojson import JsonError, JsonReader
from sagagen.runtime.edge.paths.fields import FieldPath, find_field
from sagagen.runtime.edge.paths.template import Template
from sagagen.runtime.edge.problem import broken_rules, invalid
from sagagen.runtime.edge.transcoding.fields import TextError, put
from sagagen.runtime.edge.transcoding.update_mask import update_mask
from sagagen.runtime.messages.apart import LARGE_BYTES, apart
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Route
from sagagen.runtime.rpc.errors import FieldViolation

WHOLE_BODY = "*"
_MAX_PARAMETERS = 1000


class RouteError(ValueError):
    """A route that does not fit its messages; the message names both."""


class RequestReader:
    """Reads the requests of one route."""

    def __init__(self, route: Route, template: Template, schema: Schema) -> None:
        """Raises RouteError for a variable, body or response body that the messages lack."""
        self._type = schema.message_type(route.method.request_name)
        self._schema = schema
        self._body = route.body
        self._descriptor = descriptor = schema.descriptor(route.method.request_name)
        self._variables = {path: _variable(descriptor, path, route) for path in template.variables}
        if route.body not in ("", WHOLE_BODY) and route.body not in descriptor.fields_by_name:
            raise RouteError(f"{route.template}: {descriptor.full_name} has no field {route.body}")
        self._json = JsonReader(descriptor, schema.pool)
        self._mask = update_mask(route, descriptor)
        self.max_body_bytes = route.max_body_bytes if route.body else 0
        """0: without `body` in its route a request has none."""

    async def read(self, values: Mapping[str, str], query: bytes, body: bytes) -> bytes:
        """The validated request, encoded the same for the same message, however it was spelled.

        Raises ProblemError, 400 with the path of every field that is wrong.
        """
        if len(body) > LARGE_BYTES:
            return await apart(lambda: self._read(values, query, body))
        return self._read(values, query, body)

    def _read(self, values: Mapping[str, str], query: bytes, body: bytes) -> bytes:
        message = self._type()
        value = self._read_body(message, body) if self._body else None
        violations = [*self._put_query(message, query), *self._put_path(message, values)]
        if violations:
            raise broken_rules("INVALID_PARAMETERS", violations)
        if self._mask:
            self._mask.fill(message, value)
        if broken := self._schema.violations(message):
            raise broken_rules("VALIDATION_FAILED", broken)
        return message.SerializeToString(deterministic=True)

    def _read_body(self, message: Message, body: bytes) -> object:
        """Fill the message, and return the JSON."""
        try:
            return self._json.read(body, message, "" if self._body == WHOLE_BODY else self._body)
        except JsonError as error:
            is_read = all(violation.rule != RULE for violation in error.violations)
            raise broken_rules(
                "VALIDATION_FAILED" if is_read else "INVALID_BODY", error.violations
            ) from error

    def _put_query(self, message: Message, query: bytes) -> list[FieldViolation]:
        violations: list[FieldViolation] = []
        given: dict[str, tuple[FieldPath, list[str]]] = {}
        for name, texts in parameters(query).items():
            if path := self._parameter(name):
                given.setdefault(str(path), (path, []))[1].extend(texts)
            else:
                violations.append(FieldViolation(name[:60], "is no parameter of this route", "query"))
        put_all = (_put(message, path, texts, "query") for path, texts in given.values())
        return [*violations, *(violation for violation in put_all if violation)]

    def _parameter(self, name: str) -> FieldPath | None:
        """The field of a query parameter; None for an unknown name, and for fields that only the body may set."""
        path = None if self._body == WHOLE_BODY else find_field(self._descriptor, name)
        return path if path and path.fields[0].name != self._body else None

    def _put_path(self, message: Message, values: Mapping[str, str]) -> list[FieldViolation]:
        put_all = (_put(message, self._variables[name], [text], "path") for name, text in values.items())
        return [violation for violation in put_all if violation]


def _put(message: Message, path: FieldPath, texts: Sequence[str], rule: str) -> FieldViolation | None:
    try:
        put(message, path, texts, is_final=rule == "path")
    except TextError as error:
        return FieldViolation(str(path), str(error), rule)
    return None


def _variable(descriptor: Descriptor, name: str, route: Route) -> FieldPath:
    path = find_field(descriptor, name)
    if not path:
        raise RouteError(f"{route.template}: {descriptor.full_name} has no field {name}")
    if path.last.is_repeated or not path.is_text:
        raise RouteError(f"{route.template}: {name} is no single value, so it can't stand in a path")
    return path


def parameters(query: bytes) -> dict[str, list[str]]:
    """The texts of each parameter of a query. Raises ProblemError (400) for what is no query, or too long a one."""
    if not query:
        return {}
    try:
        return parse_qs(
            query.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except UnicodeDecodeError as error:
        raise invalid("INVALID_PARAMETERS", "the query is not UTF-8 once it is decoded") from error
    except ValueError as error:
        raise invalid(
            "INVALID_PARAMETERS", f"the query has more than {_MAX_PARAMETERS} parameters"
        ) from error
