"""The HTTP request that brings an event to a saga."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from sagagen.runtime.edge.paths.template import parse_template
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Route
from sagagen.runtime.scope import EventScope
from sagagen.testing.mistakes import TestMistake


def correlation(
    schema: Schema, route: Route, saga_id_of: Callable[[Any], str], saga_id: str
) -> dict[str, object]:
    """The field that says which saga an event is for, with that saga's id; none if no text field alone does."""
    descriptor = schema.descriptor(route.method.request_name)
    kind = schema.message_type(route.method.request_name)
    for field in descriptor.fields:
        if field.type == field.TYPE_STRING and not field.is_repeated:
            message = kind(**{field.name: saga_id})
            scope: EventScope[Any, Any] = EventScope(route.method.request, message.SerializeToString())
            if saga_id_of(scope) == saga_id:
                return {field.name: saga_id}
    return {}


def placed(route: Route, payload: Mapping[str, object]) -> tuple[str, object]:
    """Path with query, and body, of a request whose message has these fields."""
    left = dict(payload)
    path = route.template
    template = parse_template(route.template)
    for name in template.variables:
        if name not in left:
            raise TestMistake(f"the path {route.template} needs {name}: put it into the event")
        value = quote(str(left.pop(name)), safe="")
        path = _filled(path, name, value)
    if route.body == "*":
        return path, left
    body = left.pop(route.body, None) if route.body else None
    return (f"{path}?{urlencode(_query(left))}" if left else path), body


def _filled(path: str, name: str, value: str) -> str:
    begin = path.index("{" + name)
    return path[:begin] + value + path[path.index("}", begin) + 1 :]


def _query(fields: Mapping[str, object]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in fields.items()
    }
