"""Finds the route of a path: literals beat variables, `*` beats `**`. One tree a verb of HTTP, built at start."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sagagen.runtime.edge.paths.template import ANY, ANY_REST, Template, decode_all, split_path

EndpointT = TypeVar("EndpointT")


@dataclass(frozen=True, slots=True)
class Found(Generic[EndpointT]):
    """The endpoint of a request, and the decoded values of its path's variables."""

    endpoint: EndpointT
    template: str
    """Of the route, as the contract writes it."""
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Missing:
    """No route: `allowed` are the methods that the path has, none if no route knows the path."""

    allowed: tuple[str, ...]


@dataclass(slots=True)
class _Node(Generic[EndpointT]):
    """What may follow in a path; `ends` holds what stands here, by custom verb."""

    literals: "dict[str, _Node[EndpointT]]" = field(default_factory=dict[str, "_Node[EndpointT]"])
    any: "_Node[EndpointT] | None" = None
    rest: "_Node[EndpointT] | None" = None
    ends: dict[str, tuple[Template, EndpointT]] = field(default_factory=dict[str, tuple[Template, EndpointT]])

    def child(self, segment: str) -> "_Node[EndpointT]":
        if segment == ANY:
            self.any = self.any or _Node()
            return self.any
        if segment == ANY_REST:
            self.rest = self.rest or _Node()
            return self.rest
        return self.literals.setdefault(segment, _Node())

    def find(self, path: Sequence[str], verb: str, at: int = 0) -> tuple[Template, EndpointT] | None:
        """The most specific end that fits; goes back where a literal leads nowhere."""
        if at == len(path):
            end = self.ends.get(verb)
            return end or (self.rest.ends.get(verb) if self.rest else None)
        literal = self.literals.get(path[at])
        if literal and (end := literal.find(path, verb, at + 1)):
            return end
        if self.any and path[at] and (end := self.any.find(path, verb, at + 1)):
            return end
        return self.rest.ends.get(verb) if self.rest and all(path[at:]) else None


class Router(Generic[EndpointT]):
    """All routes of a gateway."""

    def __init__(self, routes: Iterable[tuple[str, Template, EndpointT]]) -> None:
        """From (method, template, endpoint). Raises ValueError for two routes of one method and shape."""
        self._trees: dict[str, _Node[EndpointT]] = {}
        self._has_verbs = False
        for method, template, endpoint in routes:
            self._add(method, template, endpoint)

    def find(self, method: str, path: str) -> Found[EndpointT] | Missing:
        """The route of a path as it was sent, percent-encoded. HEAD finds what GET finds. Raises PathError."""
        tree = self._trees.get("GET" if method == "HEAD" else method)
        if tree and (found := self._find(tree, path)):
            return found
        allowed = {name for name, other in self._trees.items() if self._find(other, path)}
        return Missing(tuple(sorted(allowed | {"HEAD"} if "GET" in allowed else allowed)))

    def _add(self, method: str, template: Template, endpoint: EndpointT) -> None:
        node = self._trees.setdefault(method, _Node())
        for segment in template.segments:
            node = node.child(segment)
        if template.verb in node.ends:
            raise ValueError(f"two routes match the same paths: {method} {template.text}")
        node.ends[template.verb] = (template, endpoint)
        self._has_verbs = self._has_verbs or bool(template.verb)

    def _find(self, tree: _Node[EndpointT], path: str) -> Found[EndpointT] | None:
        """A custom verb is part of a literal's or a value's text unless a route has that verb."""
        return (self._find_as(tree, path, has_verb=True) if self._has_verbs else None) or self._find_as(
            tree, path, has_verb=False
        )

    def _find_as(self, tree: _Node[EndpointT], path: str, *, has_verb: bool) -> Found[EndpointT] | None:
        segments, verb = split_path(path, has_verb=has_verb)
        if segments is None or not (end := tree.find(decode_all(segments), verb)):
            return None
        template, endpoint = end
        return Found(endpoint, template.text, template.bind(segments))
