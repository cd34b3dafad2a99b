"""The parts of a handler file that concern the contract: its imports, its class, the class's members.

libcst parses it, since it knows the place of everything; nothing is written with libcst.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import libcst as cst
from libcst.helpers import get_absolute_module_for_import, get_full_name_for_node
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

from sagagen.python_names import PyClass
from sagagen.workspace.source_text import SourceText

BINDING_BLOCKS = (
    cst.If,
    cst.Else,
    cst.Try,
    cst.TryStar,
    cst.ExceptHandler,
    cst.Finally,
    cst.With,
    cst.For,
    cst.While,
)


@dataclass(frozen=True, slots=True)
class Imported:
    """One name of a `from module import name as local`."""

    statement: cst.ImportFrom
    alias: cst.ImportAlias
    target: PyClass
    local: str
    is_top_level: bool
    """Not under an `if` or in a function, so that it is bound when the class is created."""


@dataclass(frozen=True)
class HandlerModule:
    """A parsed handler file. Raises cst.ParserSyntaxError when it is created, and never afterwards."""

    source: SourceText
    wrapper: MetadataWrapper

    @staticmethod
    def read(source: SourceText) -> "HandlerModule":
        module = cst.parse_module(source.text)
        return HandlerModule(source, MetadataWrapper(module, unsafe_skip_copy=True))

    @property
    def tree(self) -> cst.Module:
        return self.wrapper.module

    @cached_property
    def _places(self) -> Mapping[cst.CSTNode, CodeRange]:
        return self.wrapper.resolve(PositionProvider)

    def start(self, node: cst.CSTNode) -> int:
        """Offset of the node's first character, without decorators and comments above it."""
        place = self._places[node].start
        return self.source.offset(place.line, place.column)

    def end(self, node: cst.CSTNode) -> int:
        """Offset behind the node's last character."""
        place = self._places[node].end
        return self.source.offset(place.line, place.column)

    def line(self, node: cst.CSTNode) -> int:
        return self.source.line(self.start(node))

    def text(self, node: cst.CSTNode) -> str:
        return self.source.text[self.start(node) : self.end(node)]

    @cached_property
    def imported(self) -> tuple[Imported, ...]:
        """Every `from ... import ...` of the file, in order, without relative and star imports."""
        found = _Imports()
        self.tree.visit(found)
        return tuple(
            Imported(statement, alias, PyClass(module, alias.evaluated_name), _local(alias), depth == 0)
            for statement, depth in found.statements
            if (module := absolute_module(statement)) and not isinstance(statement.names, cst.ImportStar)
            for alias in statement.names
        )

    @cached_property
    def starred(self) -> frozenset[str]:
        """Modules from which the file imports `*`."""
        return frozenset(
            module
            for statement in self.top_level_imports
            if isinstance(statement, cst.ImportFrom) and isinstance(statement.names, cst.ImportStar)
            if (module := absolute_module(statement))
        )

    @cached_property
    def top_level_imports(self) -> tuple[cst.ImportFrom | cst.Import, ...]:
        return tuple(
            small
            for line in self.tree.body
            if isinstance(line, cst.SimpleStatementLine)
            for small in line.body
            if isinstance(small, cst.ImportFrom | cst.Import)
        )

    @cached_property
    def modules(self) -> dict[str, str]:
        """Modules imported as a whole: the name in the file -> dotted module."""
        found: dict[str, str] = {}
        for statement in self.top_level_imports:
            if isinstance(statement, cst.Import):
                for alias in statement.names:
                    found[_local(alias) if alias.asname else alias.evaluated_name] = alias.evaluated_name
        for item in self.imported:
            if item.is_top_level:
                found[item.local] = f"{item.target.module}.{item.target.name}"
        return found

    @cached_property
    def names(self) -> Counter[str]:
        """How often each identifier is used in the file as a name: not behind a dot, not as a keyword argument."""
        counted = _Names()
        self.tree.visit(counted)
        return counted.counter

    @cached_property
    def classes(self) -> dict[str, cst.ClassDef]:
        """The classes at the module's top level, by name."""
        return {node.name.value: node for node in self.tree.body if isinstance(node, cst.ClassDef)}

    @cached_property
    def bound(self) -> Counter[str]:
        """How often the module's top level binds each name."""
        return Counter(bound_names(self.tree.body))

    def resolve(self, written: str) -> PyClass | None:
        """What a name refers to, if the file imports it."""
        for item in self.imported:
            if item.local == written:
                return item.target
        prefix, _, name = written.rpartition(".")
        return PyClass(self.modules[prefix], name) if prefix in self.modules else None

    def certain(self, written: str) -> PyClass | None:
        """As `resolve`, also through `import *`; None for a name that the module binds in another way as well."""
        root = written.partition(".")[0]
        items = [item for item in self.imported if item.local == root]
        if len({item.target for item in items}) > 1 or self.bound[root] > max(1, len(items)):
            return None
        if len(self.starred) == 1 and not self.bound[root] and not items:
            (module,) = self.starred
            return PyClass(module, written)
        return self.resolve(written)

    def uses(self, local: str) -> Iterator[cst.CSTNode]:
        """The places of `local` outside imports, also in strings, which may be annotations."""
        found = _Uses(local)
        self.tree.visit(found)
        return iter(found.nodes)


def members(node: cst.ClassDef) -> list[tuple[str, cst.FunctionDef | None]]:
    """The names that the class body binds, in order; with the method, if the name is a method directly in the body."""
    found: list[tuple[str, cst.FunctionDef | None]] = []
    for statement in node.body.body:
        if isinstance(statement, cst.FunctionDef):
            found.append((statement.name.value, statement))
        else:
            found += [(name, None) for name in bound_names([statement])]
    return found


def bound_names(statements: Sequence[cst.CSTNode]) -> Iterator[str]:
    """The names that statements bind in their own scope, including blocks of `if`, `try`, `with` and loops."""
    for statement in statements:
        visitor = _Bindings()
        statement.visit(visitor)
        yield from visitor.names


def absolute_module(statement: cst.ImportFrom) -> str:
    """Dotted; empty for a relative import."""
    return "" if statement.relative else get_absolute_module_for_import(None, statement) or ""


def written_name(node: cst.BaseExpression) -> tuple[str, cst.BaseExpression] | None:
    """The name in an annotation, if it is a plain or dotted name, or a string with one."""
    if isinstance(node, cst.SimpleString):
        value = node.evaluated_value
        return (value, node) if isinstance(value, str) and value.replace(".", "").isidentifier() else None
    if isinstance(node, cst.Name | cst.Attribute):
        name = get_full_name_for_node(node)
        return (name, node) if name else None
    return None


def _local(alias: cst.ImportAlias) -> str:
    return alias.evaluated_alias or alias.evaluated_name.partition(".")[0]


class _Imports(cst.CSTVisitor):
    """All `from` imports, with their depth below the top of the module."""

    def __init__(self) -> None:
        self.statements: list[tuple[cst.ImportFrom, int]] = []
        self._depth = 0

    def visit_IndentedBlock(self, node: cst.IndentedBlock) -> None:
        self._depth += 1

    def leave_IndentedBlock(self, original_node: cst.IndentedBlock) -> None:
        self._depth -= 1

    def visit_SimpleStatementSuite(self, node: cst.SimpleStatementSuite) -> None:
        self._depth += 1

    def leave_SimpleStatementSuite(self, original_node: cst.SimpleStatementSuite) -> None:
        self._depth -= 1

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        self.statements.append((node, self._depth))


class _Names(cst.CSTVisitor):
    def __init__(self) -> None:
        self.counter: Counter[str] = Counter()

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        node.value.visit(self)
        return False

    def visit_Arg(self, node: cst.Arg) -> bool:
        node.value.visit(self)
        return False

    def visit_Name(self, node: cst.Name) -> None:
        self.counter[node.value] += 1


class _Uses(cst.CSTVisitor):
    def __init__(self, name: str) -> None:
        self._name = name
        self._word = re.compile(rf"\b{re.escape(name)}\b")
        self.nodes: list[cst.CSTNode] = []

    def visit_Import(self, node: cst.Import) -> bool:
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        return False

    def visit_Name(self, node: cst.Name) -> None:
        if node.value == self._name:
            self.nodes.append(node)

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        if self._word.search(node.value):
            self.nodes.append(node)


class _Bindings(cst.CSTVisitor):
    """Does not look into functions, classes, lambdas and comprehensions: they are scopes of their own."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        self.names.append(node.name.value)
        return False

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        self.names.append(node.name.value)
        return False

    def visit_Lambda(self, node: cst.Lambda) -> bool:
        return False

    def visit_ImportAlias(self, node: cst.ImportAlias) -> bool:
        self.names.append(_local(node))
        return False

    def visit_AssignTarget(self, node: cst.AssignTarget) -> None:
        self._bind(node.target)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        self._bind(node.target)

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        self._bind(node.target)

    def visit_NamedExpr(self, node: cst.NamedExpr) -> None:
        self._bind(node.target)

    def visit_For(self, node: cst.For) -> None:
        self._bind(node.target)

    def visit_AsName(self, node: cst.AsName) -> None:
        self._bind(node.name)

    def visit_Del(self, node: cst.Del) -> None:
        self._bind(node.target)

    def _bind(self, target: cst.BaseExpression) -> None:
        if isinstance(target, cst.Name):
            self.names.append(target.value)
        elif isinstance(target, cst.Tuple | cst.List):
            for element in target.elements:
                self._bind(element.value)
        elif isinstance(target, cst.StarredElement):
            self._bind(target.value)
