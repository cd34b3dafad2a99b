"""Finds what a handler file asks of a message that the contract does not have: a field, or a value of an enum.

Only what is certain is reported (`handler_scopes`). A field that was renamed is still read under its old name after the
mesh is generated anew, and fails when it is read: behind the pivot, where nothing can be undone.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import EnumType

import betterproto2

from sagagen.diagnostics import did_you_mean
from sagagen.emit.message_shapes import EnumShape, Many, MessageShape, Shapes
from sagagen.python_names import PyClass
from sagagen.workspace.handler_scopes import Comprehension, Function, Names, Scope, dotted
from sagagen.workspace.renames import Renamed
from sagagen.workspace.source_text import NEWLINE

_OF_MESSAGES = frozenset(dir(betterproto2.Message))
_OF_ENUMS = frozenset(name for base in betterproto2.Enum.__mro__ for name in vars(base)) | frozenset(
    dir(EnumType)
)
_IGNORED = re.compile(r"#\s*(type|pyright):\s*ignore")


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A place where the code names what the contract does not have."""

    line: int
    """From 1."""
    column: int
    """From 0, in characters."""
    message: str
    hint: str


def unknown_fields(
    text: str, classes: Callable[[str], PyClass | None], shapes: Shapes, renamed: Renamed
) -> Iterator[UnknownField]:
    """`classes`: what a name of the file imports. A line with a comment `type: ignore` is left alone."""
    tree = ast.parse(text)
    names = Names.of(tree, classes, shapes)
    found = _Asked(names, _open_classes(tree, names))
    with suppress(RecursionError):  # code that is nested so deeply is not looked at
        found.visit(tree)
    lines = NEWLINE.split(text)
    for asked in found.asked:
        line = lines[asked.line - 1]
        if not _IGNORED.search(line):
            yield asked.finding(line, shapes[asked.of], renamed)


def _open_classes(tree: ast.Module, names: Names) -> frozenset[PyClass]:
    """Classes to which this file adds: by a subclass, or by an attribute of the class itself."""
    bases = (base for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases)
    stores = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del)
    )
    return frozenset(found for node in (*bases, *stores) if (found := names.named(node)))


@dataclass(frozen=True, slots=True)
class _Question:
    of: PyClass
    name: str
    line: int
    offset: int
    """In bytes of UTF-8, as Python's parser counts."""

    def finding(self, line: str, shape: MessageShape | EnumShape, renamed: Renamed) -> UnknownField:
        column = len(line.encode()[: self.offset].decode(errors="replace"))
        what, known = ("value", shape.members) if isinstance(shape, EnumShape) else ("field", shape.fields)
        message = f'{self.of.name} has no {what} "{self.name}"'
        if new := renamed(shape.name, self.name):
            return UnknownField(
                self.line, column, f'{message}: the contract calls it "{new}" now', f"write {new}"
            )
        hint = did_you_mean(self.name, known) or "remove it"
        return UnknownField(self.line, column, message, hint)


class _Asked(ast.NodeVisitor):
    """Walks a file with the scope of each place, and collects what is asked in vain."""

    def __init__(self, names: Names, is_open: frozenset[PyClass]) -> None:
        self.asked: list[_Question] = []
        self._names = names
        self._is_open = is_open
        self._scope = Scope(names)

    def _function(self, node: Function | ast.Lambda) -> None:
        for part in ast.iter_child_nodes(node.args):
            self.visit(part)
        outer, self._scope = self._scope, self._scope.inner(node)
        for part in [node.body] if isinstance(node, ast.Lambda) else node.body:
            self.visit(part)
        self._scope = outer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node)

    def _comprehension(self, node: Comprehension) -> None:
        outer, self._scope = self._scope, self._scope.inner(node)
        self.generic_visit(node)
        self._scope = outer

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node)

    def visit_Try(self, node: ast.Try) -> None:
        """Code that expects an AttributeError knows what it does."""
        caught = " ".join(ast.unparse(handler.type) for handler in node.handlers if handler.type)
        parts: Iterable[ast.AST] = ast.iter_child_nodes(node)
        if "AttributeError" in caught:
            parts = (*node.handlers, *node.orelse, *node.finalbody)
        for part in parts:
            self.visit(part)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not node.attr.startswith("_") and dotted(node.value) not in self._names.doubted:
            self._ask_enum(node)
            self._ask_message(node)
        self.generic_visit(node)

    def _ask_enum(self, node: ast.Attribute) -> None:
        of = self._names.named(node.value, self._scope)
        shape = self._names.shapes.get(of) if of else None
        if of and isinstance(shape, EnumShape) and node.attr not in shape.members | _OF_ENUMS:
            self._report(of, node.attr, *_end_of(node))

    def _ask_message(self, node: ast.Attribute) -> None:
        found = self._scope.holds(node.value)
        if found and found.many is Many.ONE and node.attr not in _OF_MESSAGES:
            self._ask_field(found.message, node.attr, *_end_of(node))

    def visit_Call(self, node: ast.Call) -> None:
        of = self._names.message(node.func, self._scope)
        for keyword in node.keywords:
            if of and keyword.arg:
                self._ask_field(of, keyword.arg, keyword.lineno, keyword.col_offset)
        self.generic_visit(node)

    def _ask_field(self, of: PyClass, name: str, line: int, offset: int) -> None:
        shape = self._names.shapes.get(of)
        if isinstance(shape, MessageShape) and name not in shape.fields:
            self._report(of, name, line, offset)

    def _report(self, of: PyClass, name: str, line: int, offset: int) -> None:
        if of not in self._is_open:
            self.asked.append(_Question(of, name, line, offset))


def _end_of(node: ast.Attribute) -> tuple[int, int]:
    """Line and byte offset of the attribute's name, which ends where the node does."""
    return node.end_lineno or node.lineno, (node.end_col_offset or 0) - len(node.attr.encode())
