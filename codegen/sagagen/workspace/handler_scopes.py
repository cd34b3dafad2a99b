"""Which messages the names and expressions of a handler file are, as far as that is certain.

A name is certain where everything that binds it in its function says the same: an annotation, a constructor, a field of
another message, an item of a list. Whatever else binds it, and whatever the code itself asks about (`isinstance`,
`hasattr`), makes it unknown. Nothing is guessed: an unknown value has no type here.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from sagagen.emit.message_shapes import Holds, Many, MessageShape, Shapes
from sagagen.python_names import PyClass

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp

_Origin: TypeAlias = Callable[[], Holds | None]
_ASKING = frozenset({"getattr", "hasattr", "isinstance", "issubclass", "setattr", "vars"})
"""Calls whose first argument is not what its annotation says, or gets more attributes than its class has."""
_SAME_ITEMS = frozenset({"list", "reversed", "sorted", "tuple"})


def _unknown() -> None:
    return None


@dataclass(frozen=True)
class Names:
    """What the whole file has to say about its names."""

    classes: Callable[[str], PyClass | None]
    """What a name, or a dotted one, imports."""
    shapes: Shapes
    functions: dict[str, Function]
    """The module's own functions, by name."""
    doubted: frozenset[str]
    """Expressions that the code asks about, as source."""

    @staticmethod
    def of(tree: ast.Module, classes: Callable[[str], PyClass | None], shapes: Shapes) -> "Names":
        functions = {node.name: node for node in tree.body if isinstance(node, Function)}
        return Names(classes, shapes, functions, frozenset(_doubted(tree)))

    def message(self, node: ast.expr, scope: "Scope | None" = None) -> PyClass | None:
        """The message class that an expression names. None for an enum, and for a name of the function's own."""
        found = self.named(node, scope)
        return found if found and isinstance(self.shapes.get(found), MessageShape) else None

    def named(self, node: ast.expr, scope: "Scope | None" = None) -> PyClass | None:
        """The class of the contract that an expression names."""
        written = dotted(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            written = node.value.strip()
        if not written or written in self.doubted or (scope and scope.binds(written.partition(".")[0])):
            return None
        found = self.classes(written)
        return found if found in self.shapes else None

    def annotated(self, node: ast.expr | None, scope: "Scope | None" = None) -> Holds | None:
        """What an annotation promises: `X`, `X | None`, `list[X]`, `dict[str, X]`."""
        match node:
            case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
                return self.annotated(left, scope)
            case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
                return self.annotated(inner, scope)
            case ast.Subscript(value=ast.Name(id="list" | "List" | "Sequence" | "Iterable"), slice=inner):
                return _many(self.annotated(inner, scope), Many.LIST)
            case ast.Subscript(
                value=ast.Name(id="dict" | "Dict" | "Mapping"), slice=ast.Tuple(elts=[_, inner])
            ):
                return _many(self.annotated(inner, scope), Many.MAP)
            case None:
                return None
            case _:
                found = self.message(node, scope)
                return Holds(found) if found else None


def dotted(node: ast.expr) -> str:
    """The text of a name, or of attributes of one; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _many(inner: Holds | None, many: Many) -> Holds | None:
    return Holds(inner.message, many) if inner and inner.many is Many.ONE else None


def _doubted(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in _ASKING:
                yield from _asked_about(first)
            case ast.Match(subject=subject):
                yield from _asked_about(subject)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                yield from names
            case ast.ClassDef(body=body):
                yield from (name for statement in body for name in _bound_in_class(statement))
            case _:
                pass


def _asked_about(node: ast.expr) -> Iterator[str]:
    """The expression itself if it is a dotted name, otherwise all names in it."""
    if written := dotted(node):
        yield written
    else:
        yield from (each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def _bound_in_class(statement: ast.stmt) -> Iterator[str]:
    """What annotations inside the class would find in place of the module's name."""
    if isinstance(statement, ast.ClassDef):
        yield statement.name
    elif not isinstance(statement, Function):
        yield from (
            node.id
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        )


@dataclass
class Scope:
    """A function's names, or a comprehension's, inside those of what surrounds it. A class body has none to offer."""

    names: Names
    outer: "Scope | None" = None
    _origins: dict[str, list[_Origin]] = field(default_factory=dict[str, list[_Origin]])
    _found: dict[str, Holds | None] = field(default_factory=dict[str, Holds | None])
    """By name, once it was asked for. A name that leads back to itself is unknown."""

    def inner(self, node: Function | ast.Lambda | Comprehension) -> "Scope":
        """The scope of what is inside."""
        scope = Scope(self.names, self)
        if isinstance(node, Comprehension):
            for clause in node.generators:
                scope.bind_items(clause.target, clause.iter)
        else:
            scope.bind_arguments(node.args)
            for statement in node.body if not isinstance(node, ast.Lambda) else [node.body]:
                _Bindings(scope).visit(statement)
        return scope

    def binds(self, name: str) -> bool:
        return name in self._origins or (self.outer is not None and self.outer.binds(name))

    def bind(self, name: str, origin: _Origin = _unknown) -> None:
        self._origins.setdefault(name, []).append(origin)

    def bind_arguments(self, arguments: ast.arguments) -> None:
        for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            self.bind(one.arg, lambda one=one: self.names.annotated(one.annotation, self.outer))
        for one in (arguments.vararg, arguments.kwarg):
            if one is not None:
                self.bind(one.arg)

    def bind_items(self, target: ast.expr, iterated: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.bind(target.id, lambda: self._item(iterated))
        else:
            self.bind_all(target)

    def bind_all(self, target: ast.AST) -> None:
        """The names that a target binds, to what nobody knows."""
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.bind(node.id)

    def _item(self, iterated: ast.expr) -> Holds | None:
        match iterated:
            case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in _SAME_ITEMS:
                return self._item(first)
            case ast.Call(func=ast.Attribute(value=mapping, attr="values"), args=[]):
                found, many = self.holds(mapping), Many.MAP
            case _:
                found, many = self.holds(iterated), Many.LIST
        return Holds(found.message) if found and found.many is many else None

    def _name(self, name: str) -> Holds | None:
        if name in self.names.doubted:
            return None
        if name not in self._origins:
            return self.outer._name(name) if self.outer else None
        if name not in self._found:
            self._found[name] = None
            first, *rest = [origin() for origin in self._origins[name]]
            self._found[name] = first if all(one == first for one in rest) else None
        return self._found[name]

    def holds(self, node: ast.expr) -> Holds | None:
        """The message that an expression is, or the messages in it. None if that is not certain."""
        match node:
            case ast.Name(id=name):
                return self._name(name)
            case ast.Attribute(value=value, attr=attribute):
                return self._field(value, attribute) if dotted(node) not in self.names.doubted else None
            case ast.Call(func=function):
                return self._called(function, is_awaited=False)
            case ast.Await(value=ast.Call(func=function)):
                return self._called(function, is_awaited=True)
            case ast.Subscript(value=value, slice=index):
                return self._indexed(self.holds(value), index)
            case ast.NamedExpr(value=value):
                return self.holds(value)
            case ast.IfExp(body=left, orelse=right) | ast.BoolOp(values=[left, right]):
                found = self.holds(left)
                return found if found == self.holds(right) else None
            case ast.List(elts=[first, *rest]):
                found = self.holds(first)
                return _many(found, Many.LIST) if all(self.holds(one) == found for one in rest) else None
            case ast.ListComp(elt=item):
                return _many(self.inner(node).holds(item), Many.LIST)
            case _:
                return None

    def _field(self, value: ast.expr, attribute: str) -> Holds | None:
        found = self.holds(value)
        shape = self.names.shapes.get(found.message) if found and found.many is Many.ONE else None
        return shape.fields.get(attribute) if isinstance(shape, MessageShape) else None

    def _called(self, function: ast.expr, *, is_awaited: bool) -> Holds | None:
        if not is_awaited and (made := self.names.message(function, self)):
            return Holds(made)
        if isinstance(function, ast.Attribute) and function.attr == "parse" and not is_awaited:
            made = self.names.message(function.value, self)
            return Holds(made) if made else None
        if not isinstance(function, ast.Name) or self.binds(function.id):
            return None
        called = self.names.functions.get(function.id)
        if (
            called is None
            or called.decorator_list
            or isinstance(called, ast.AsyncFunctionDef) is not is_awaited
        ):
            return None
        return self.names.annotated(called.returns)

    @staticmethod
    def _indexed(found: Holds | None, index: ast.expr) -> Holds | None:
        if found is None or found.many is Many.ONE:
            return None
        return found if isinstance(index, ast.Slice) else Holds(found.message)


class _Bindings(ast.NodeVisitor):
    """All names that a function's body binds. Functions and classes inside it are scopes of their own."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._scope.bind(node.name)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._scope.bind(node.name)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope.bind(node.name)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        pass

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.visit(node.iter)
        for condition in node.ifs:
            self.visit(condition)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._scope.bind(target.id, lambda: self._scope.holds(node.value))
            else:
                self._scope.bind_all(target)
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._scope.bind(
                node.target.id, lambda: self._scope.names.annotated(node.annotation, self._scope)
            )
        if node.value:
            self.visit(node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._scope.bind(node.target.id, lambda: self._scope.holds(node.value))
        self.visit(node.value)

    def visit_For(self, node: ast.For) -> None:
        self._scope.bind_items(node.target, node.iter)
        for part in (node.iter, *node.body, *node.orelse):
            self.visit(part)

    def visit_Name(self, node: ast.Name) -> None:
        """Reached only for targets that are not understood: of `with`, `async for`, `+=`."""
        if isinstance(node.ctx, ast.Store | ast.Del):
            self._scope.bind(node.id)

    def visit_alias(self, node: ast.alias) -> None:
        self._scope.bind(node.asname or node.name.partition(".")[0])

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._scope.bind(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._captured(node.name, node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self._captured(node.name, node)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._captured(node.rest, node)

    def _captured(self, name: str | None, node: ast.AST) -> None:
        if name:
            self._scope.bind(name)
        self.generic_visit(node)
