"""What changed for clients: routes and limits."""

from collections.abc import Iterator
from dataclasses import fields

from sagagen.compatibility.change import Change
from sagagen.compatibility.rules import edge as edge_rules
from sagagen.contract.loading import SAGA_YAML
from sagagen.contract.model import Mesh, Route
from sagagen.runtime.edge.paths.template import parse_template
from sagagen.runtime.model.definition import Limits
from sagagen.source import Span

SAGA_FILE = Span(SAGA_YAML)

Key = tuple[str, tuple[str, ...]]


def compare_routes(old: Mesh, new: Mesh) -> Iterator[Change]:
    before, after = _by_key(old), _by_key(new)
    for key, route in before.items():
        if key in after:
            yield from _compare(route, after[key])
        else:
            subject = f"{route.verb} {route.template}"
            yield Change.of(edge_rules.ROUTE_REMOVED, route.span, subject, f"{subject} is gone")
    for key, route in after.items():
        if key not in before:
            subject = f"{route.verb} {route.template}"
            yield Change.of(edge_rules.ROUTE_ADDED, route.span, subject, f"{subject} is new")


def same_routes(old: Mesh, new: Mesh) -> Iterator[tuple[Route, Route]]:
    """Routes that both have, in the order of the new contract."""
    before = _by_key(old)
    yield from ((before[key], route) for key, route in _by_key(new).items() if key in before)


def compare_limits(old: Mesh, new: Mesh) -> Iterator[Change]:
    for name in (each.name for each in fields(Limits)):
        was, now = getattr(old.limits, name), getattr(new.limits, name)
        if now < was:
            subject = f"limits.{name}"
            yield Change.of(edge_rules.LIMITS_LOWERED, SAGA_FILE, subject, f"{subject} {was} -> {now}")


def _by_key(mesh: Mesh) -> dict[Key, Route]:
    return {(route.verb, _shape(route)): route for route in mesh.routes}


def _shape(route: Route) -> tuple[str, ...]:
    """The template without the names of its variables: the URLs that it matches."""
    return parse_template(route.template).shape


def _compare(old: Route, new: Route) -> Iterator[Change]:
    subject = f"{new.verb} {new.template}"
    if old.method.full_name != new.method.full_name:
        message = f"{old.method.full_name} -> {new.method.full_name}"
        yield Change.of(edge_rules.ROUTE_TARGET, new.span, subject, message)
    elif old.template != new.template:
        yield Change.of(edge_rules.ROUTE_VARIABLE, new.span, subject, f"{old.template} -> {new.template}")
    for name in ("body", "response_body"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            message = f"{name} {was or 'none'} -> {now or 'none'}"
            yield Change.of(edge_rules.ROUTE_BODY, new.span, subject, message)
    if old.body and new.body and new.max_body_bytes < old.max_body_bytes:
        message = f"body up to {old.max_body_bytes} -> {new.max_body_bytes} bytes"
        yield Change.of(edge_rules.LIMITS_LOWERED, new.span, subject, message)
