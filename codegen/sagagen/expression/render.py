"""From a checked message to the Python function that builds it, as a person would write it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from google.protobuf.descriptor import Descriptor

from sagagen.expression.request import MessageExpr
from sagagen.expression.tree import Build, Expr
from sagagen.expression.types import MessageType
from sagagen.expression.value import ValueExpr
from sagagen.expression.writer import Writer
from sagagen.python_names import Import, PyClass, PythonNames

ScopeName = Literal["Scope", "CompensationScope", "EventScope", "AccessScope"]
_SCOPE = "sagagen.runtime.scope"


@dataclass(frozen=True, slots=True)
class RenderedFunction:
    """A complete, typed function."""

    lines: tuple[str, ...]
    imports: frozenset[Import]
    """Imports from the runtime and the standard library; classes of messages and enums go through `refer`."""


def render_function(
    name: str,
    expr: MessageExpr | None,
    *,
    target: Descriptor,
    input: Descriptor,
    in_compensation: bool = False,
    event: Descriptor | None = None,
    names: PythonNames,
    doc: str,
    refer: Callable[[PyClass], str],
) -> RenderedFunction:
    """The function `name` that builds `expr` (None: the default `target`) from a scope.

    `event`: the message of the event whose answer it is. `refer` returns the name of a class in the file that the
    function goes into. Lines are not wrapped.
    """
    root = expr.root if expr else Build(MessageType(target.full_name, target), ())
    scope = "CompensationScope" if in_compensation else "EventScope" if event else "Scope"
    of = _Scope(scope, _messages(event, input))
    return _function(name, root, of, target=target, names=names, doc=doc, refer=refer)


def render_access(
    name: str,
    expr: ValueExpr,
    *,
    request: Descriptor,
    response: Descriptor,
    names: PythonNames,
    doc: str,
    refer: Callable[[PyClass], str],
) -> RenderedFunction:
    """The function `name` that computes a route's `allow` from an AccessScope. It returns a bool."""
    of = _Scope("AccessScope", (request, response))
    return _function(name, expr.root, of, names=names, doc=doc, refer=refer)


def render_value(
    name: str,
    expr: ValueExpr,
    *,
    scope: ScopeName = "Scope",
    input: Descriptor,
    event: Descriptor | None = None,
    names: PythonNames,
    doc: str,
    refer: Callable[[PyClass], str],
) -> RenderedFunction:
    """The function `name` that computes `expr` from a scope; `event` is the message of an EventScope's event.

    It returns what the place takes: bool (`when`), str (`saga_id`), str or int (`key`), seconds as a float (`after`),
    milliseconds since the epoch (`at`), a list (`in`).
    """
    of = _Scope(scope, _messages(event, input))
    return _function(name, expr.root, of, names=names, doc=doc, refer=refer)


@dataclass(frozen=True, slots=True)
class _Scope:
    """The type of the function's argument."""

    name: ScopeName
    messages: tuple[Descriptor, ...]
    """Its type's parameters."""


def _messages(event: Descriptor | None, input: Descriptor) -> tuple[Descriptor, ...]:
    return (event, input) if event else (input,)


def _function(
    name: str,
    root: Expr,
    scope: _Scope,
    *,
    target: Descriptor | None = None,
    names: PythonNames,
    doc: str,
    refer: Callable[[PyClass], str],
) -> RenderedFunction:
    writer = Writer.of(root, names, refer)
    arguments = [refer(names.message(each)) for each in scope.messages]
    returns = refer(names.message(target)) if target else writer.type_name(root.type)
    body = [*_docstring(doc), *writer.readings(root), f"return {writer.value(root).text}"]
    return RenderedFunction(
        lines=(
            f"def {name}(scope: {scope.name}[{', '.join(arguments)}]) -> {returns}:",
            *(f"    {line}" if line else "" for line in body),
        ),
        imports=frozenset({Import(_SCOPE, scope.name), *writer.imports}),
    )


def _docstring(doc: str) -> list[str]:
    if not doc:
        return []
    first, *rest = doc.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').splitlines()
    # A quotation mark directly before the closing three would end the docstring early.
    end = '\\"' if (rest or [first])[-1].endswith('"') else ""
    lines = [f'"""{first}', *rest]
    lines[-1] = f'{lines[-1].removesuffix(chr(34)) if end else lines[-1]}{end}"""'
    return lines
