"""The reasons with which a handler declines, as its source says them: `raise Declined("SOLD_OUT", ...)`."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from types import FunctionType
from typing import Any, cast

DECLINED = "Declined"
_DEEPEST = 2
"""So many functions deep a handler's own module is followed."""


def reasons_of(handlers: object, method: str) -> tuple[str, ...]:
    """In the order of the source; those of functions of its module that it calls come after its own."""
    handler = inspect.unwrap(getattr(type(handlers), method, lambda: None))
    return tuple(dict.fromkeys(_reasons(cast(Callable[..., Any], handler), type(handlers), _DEEPEST)))


def _reasons(function: Callable[..., Any], owner: type, depth: int) -> Iterator[str]:
    tree = _tree_of(function)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Call) and _name(node.func) == DECLINED and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value
    if tree and depth:
        for called in dict.fromkeys(
            _name(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)
        ):
            found = getattr(owner, called, None) or getattr(inspect.getmodule(function), called, None)
            if isinstance(found, FunctionType) and found.__module__ == owner.__module__:
                yield from _reasons(found, owner, depth - 1)


def _name(called: ast.expr) -> str:
    match called:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


@cache
def _tree_of(function: Callable[..., Any]) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
