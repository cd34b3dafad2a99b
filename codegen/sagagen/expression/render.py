"""From a checked message to the Python function that builds it, as a person would write it."""

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor

from sagagen.expression.locals import Locals
from sagagen.expression.request import MessageExpr
from sagagen.expression.tree import Build, StepResponse, walk
from sagagen.expression.types import MessageType
from sagagen.expression.writer import Writer
from sagagen.python_names import Import, PyClass, PythonNames

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
    in_compensation: bool,
    names: PythonNames,
    doc: str,
    refer: Callable[[PyClass], str],
) -> RenderedFunction:
    """The function `name` that builds `expr` (None: the default `target`) from a scope.

    `refer` returns the name of a class in the file that the function goes into. Lines are not wrapped.
    """
    root = expr.root if expr else Build(MessageType(target.full_name, target), ())
    responses = {node.step: node.type for node in walk(root) if isinstance(node, StepResponse)}
    writer = Writer(names, refer, Locals(responses))
    scope = "CompensationScope" if in_compensation else "Scope"
    input_class, target_class = refer(names.message(input)), refer(names.message(target))
    reads = [
        f'{local} = scope.response("{step}", {refer(names.message(responses[step].descriptor))})'
        for step, local in writer.locals.steps.items()
    ]
    body = [*_docstring(doc), *reads, f"return {writer.value(root).text}"]
    return RenderedFunction(
        lines=(
            f"def {name}(scope: {scope}[{input_class}]) -> {target_class}:",
            *(f"    {line}" if line else "" for line in body),
        ),
        imports=frozenset({Import(_SCOPE, scope), *writer.imports}),
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
