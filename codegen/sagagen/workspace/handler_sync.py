"""Keeps a file in handlers/ in line with the contract, without losing a line of anyone's work.

A new rpc becomes a method that raises UNIMPLEMENTED, beside its neighbours of the contract; a message class that is
renamed is renamed in annotations and imports as well. No other byte of the file changes: libcst parses the file, and
edits are spliced into its text. The result is parsed again and compared with the original before it is written.
What cannot be done in this way is reported, with its line, and left alone.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import libcst as cst

from sagagen.diagnostics import Diagnostic, Severity
from sagagen.emit.handler_contract import HandlerContract, HandlerMethod
from sagagen.python_names import PB_PACKAGE, PyClass
from sagagen.source import Span
from sagagen.workspace.handler_codes import HandlerCode
from sagagen.workspace.handler_fields import unknown_fields
from sagagen.workspace.handler_imports import ImportNeeds, renamed
from sagagen.workspace.handler_methods import MethodPlaces, method_text
from sagagen.workspace.handler_module import HandlerModule, Imported, members, written_name
from sagagen.workspace.handler_proof import proves
from sagagen.workspace.renames import Renamed, not_known
from sagagen.workspace.source_text import Edit, SourceText, Unreadable
from sagagen.workspace.synced import Synced

CALL = PyClass("sagagen.runtime", "Call")
RPC_ERROR = PyClass("sagagen.runtime", "RpcError")
STATUS = PyClass("grpclib.const", "Status")
ROOTS = frozenset({"ABC", "Generic", "Protocol", "object"})
"""Bases that bring no handlers."""


def sync_handler(content: bytes, contract: HandlerContract, renamed: Renamed = not_known) -> Synced:
    """What the handler file `contract.path` with this `content` becomes. Pure, as far as `renamed` is.

    The result is in line with the contract, as far as possible: a second pass over it changes nothing.
    """
    first = _sync_once(content, contract, renamed)
    if first.content == content:
        return first
    second = _sync_once(first.content, contract, renamed)
    if second.content != first.content:
        return _unsafe(content, contract, first)
    return replace(first, findings=second.findings)  # with the lines of what is written


def _sync_once(content: bytes, contract: HandlerContract, renamed: Renamed) -> Synced:
    try:
        return _synced(content, contract, renamed)
    except RecursionError:
        return _left(content, contract, 1, 1, "the code is nested too deeply to be read")


def _synced(content: bytes, contract: HandlerContract, renamed: Renamed) -> Synced:
    try:
        source = SourceText.read(content)
        ast.parse(source.text)
        module = HandlerModule.read(source)
    except Unreadable as problem:
        return _left(content, contract, problem.line, 1, f"the file {problem}")
    except SyntaxError as problem:
        line, column = problem.lineno or 1, problem.offset or 1
        return _left(content, contract, line, max(column, 1), f"this is not valid Python: {problem.msg}")
    except ValueError as problem:  # null bytes
        return _left(content, contract, 1, 1, f"this is not valid Python: {problem}")
    except cst.ParserSyntaxError as problem:
        line, column = problem.raw_line, problem.raw_column + 1
        return _left(content, contract, line, column, "libcst, which edits handlers, cannot read this")
    sync = _Sync(module, contract, renamed)
    sync.run()
    synced = sync.result(content)
    after = SourceText.read(synced.content).text
    return (
        synced
        if proves(source.text, after, contract.implementation, synced.added)
        else _unsafe(content, contract, synced)
    )


def _unsafe(content: bytes, contract: HandlerContract, synced: Synced) -> Synced:
    """The file as it was, since the edited one is not what was intended."""
    methods = ", ".join(dict.fromkeys([*synced.added, *synced.followed]))
    message = f"this file cannot be edited safely: bring {methods} in line by hand"
    hint = "write what the contract wants; the file was left as it is"
    finding = Diagnostic(Span(contract.path), Severity.ERROR, HandlerCode.UNSAFE, message, hint)
    return Synced(contract.path, content, (), (), (*synced.findings, finding))


def _left(content: bytes, contract: HandlerContract, line: int, column: int, message: str) -> Synced:
    hint = "fix the file and run `sagagen generate` again; it was left as it is"
    at = Span(contract.path, line, column)
    finding = Diagnostic(at, Severity.ERROR, HandlerCode.NOT_PYTHON, message, hint)
    return Synced(contract.path, content, (), (), (finding,))


@dataclass
class _Sync:
    """The decisions about one file: `edits` and `findings` grow."""

    module: HandlerModule
    contract: HandlerContract
    renamed: Renamed
    edits: list[Edit] = field(default_factory=list[Edit])
    findings: list[Diagnostic] = field(default_factory=list[Diagnostic])
    added: list[str] = field(default_factory=list[str])
    followed: list[str] = field(default_factory=list[str])

    def run(self) -> None:
        node = self._class()
        if node is not None:
            bound = members(node)
            imports = ImportNeeds(self.module, frozenset(name for name, _ in bound))
            self._follow_types(node, imports)
            self._add_methods(node, imports)
            self.edits += imports.edits()
            self._warn_of_removed(node)
        self._report_lost_imports()
        self._report_unknown_fields()

    def result(self, content: bytes) -> Synced:
        path, findings = self.contract.path, tuple(sorted(self.findings, key=lambda one: one.at))
        after = self.module.source.spliced(self.edits).write() if self.edits else content
        return Synced(path, after, tuple(self.added), tuple(self.followed), findings)

    def _class(self) -> cst.ClassDef | None:
        """The class that the mesh loads. None, and a finding, if it is not in this file."""
        name = self.contract.implementation
        if name in self.module.classes and self.module.bound[name] == 1:
            return self.module.classes[name]
        if alias := self._aliased(name):
            return self.module.classes[alias]
        if any(item.local == name for item in self.module.imported):
            return None  # it lives in another module, which is not ours to look for
        other = next((node for node in self.module.classes.values() if self._implements(node)), None)
        if other is not None:
            message = f"the class is called {other.name.value}, but the mesh loads {name}"
            hint = f"name it {name}, or add the line: {name} = {other.name.value}"
            self._report(self.module.start(other), HandlerCode.NO_CLASS, message, hint)
        else:
            message = f"the mesh loads a class {name}, which is not here"
            hint = f"write it: class {name}({self.contract.base.name})"
            self._report(0, HandlerCode.NO_CLASS, message, hint)
        return None

    def _aliased(self, name: str) -> str | None:
        """`OrderService = Orders` at the top of the module."""
        for line in self.module.tree.body:
            for small in line.body if isinstance(line, cst.SimpleStatementLine) else ():
                if isinstance(small, cst.Assign) and isinstance(small.value, cst.Name):
                    targets = [target.target for target in small.targets]
                    is_alias = any(
                        isinstance(target, cst.Name) and target.value == name for target in targets
                    )
                    if is_alias and small.value.value in self.module.classes:
                        return small.value.value
        return None

    def _implements(self, node: cst.ClassDef) -> bool:
        written = [written_name(base.value) for base in node.bases]
        return any(
            base and (base[0].endswith("Handlers") or self.module.resolve(base[0]) == self.contract.base)
            for base in written
        )

    def _family(self, node: cst.ClassDef) -> list[cst.ClassDef]:
        """The class, and those of its bases that are in this file."""
        found = [node]
        for child in found:
            for base in child.bases:
                written = written_name(base.value)
                local = self.module.classes.get(written[0]) if written else None
                if local is not None and local not in found:
                    found.append(local)
        return found

    def _foreign_bases(self, node: cst.ClassDef) -> list[str]:
        """Bases from elsewhere, which may bring handlers that we cannot see."""
        family = self._family(node)
        local = {child.name.value for child in family}
        names = [self._base_name(base.value) for child in family for base in child.bases]
        return [name for name in names if name not in local | ROOTS and not self._is_contracts_base(name)]

    def _base_name(self, node: cst.BaseExpression) -> str:
        node = node.value if isinstance(node, cst.Subscript) else node
        written = written_name(node)
        return written[0] if written else self.module.text(node)

    def _is_contracts_base(self, name: str) -> bool:
        target = self.module.resolve(name)
        if target is None:
            return name == self.contract.base.name
        return target.module.startswith("generated.services.") or target.name in ROOTS

    def _add_methods(self, node: cst.ClassDef, imports: ImportNeeds) -> None:
        there = {name for child in self._family(node) for name, _ in members(child)}
        missing = [method for method in self.contract.methods if method.name not in there]
        foreign = self._foreign_bases(node)
        if missing and foreign:
            names = ", ".join(method.name for method in missing)
            message = f"{names} may be in {', '.join(foreign)}, which is defined elsewhere; nothing was added"
            hint = "write what is missing, there or here"
            self._warn(self.module.start(node.name), HandlerCode.FOREIGN_BASE, message, hint)
            return
        places = MethodPlaces(self.module, node, [method.name for method in self.contract.methods])
        for method in missing:
            names = [
                imports.name(target) for target in (method.request, CALL, method.response, RPC_ERROR, STATUS)
            ]
            places.add(method.name, method_text(method, names))
            self.added.append(method.name)
        self.edits += places.edits()

    def _follow_types(self, node: cst.ClassDef, imports: ImportNeeds) -> None:
        contract = {method.name: method for method in self.contract.methods}
        methods = [pair for child in self._family(node) for pair in members(child)]
        names = [name for name, _ in methods]
        written = [
            _Annotation(name, annotation, target)
            for name, method in methods
            if method is not None and name in contract and names.count(name) == 1
            for annotation, target in _annotations(method, contract[name])
        ]
        stale = [one for one in written if self._is_stale(one)]
        for item in self._imports_to_follow(stale):
            self._follow_import(item, stale, imports)
        for one in stale:
            self._follow_annotation(one, imports)

    def _is_stale(self, one: "_Annotation") -> bool:
        """Whether it names another message class of the contract; anything else was written on purpose."""
        target = self.module.resolve(one.written)
        return target is not None and target.module.startswith(f"{PB_PACKAGE}.") and target != one.target

    def _imports_to_follow(self, stale: Sequence["_Annotation"]) -> list[Imported]:
        locals_ = {one.written for one in stale}
        return [item for item in self.module.imported if item.local in locals_ and item.is_top_level]

    def _follow_import(self, item: Imported, stale: Sequence["_Annotation"], imports: ImportNeeds) -> None:
        """Let the import bring the new class, if nothing else relies on the old one."""
        mine = [one for one in stale if one.written == item.local]
        target = mine[0].target
        has_alias = item.alias.asname is not None
        others = list(self.module.uses(item.local))[len(mine) :]
        is_gone = item.target not in self.contract.messages
        can_take = target.module == item.target.module and not imports.is_at_hand(target)
        is_whole = all(one.target == target for one in mine)
        if can_take and (not others or (has_alias and is_gone and is_whole)):
            free = has_alias or not self.module.names[target.name]
            if free:
                self.edits.append(renamed(self.module, item, target.name))
                imports.take_over(target, item.local if has_alias else target.name)

    def _follow_annotation(self, one: "_Annotation", imports: ImportNeeds) -> None:
        name = imports.name(one.target)
        start, end = self.module.start(one.node), self.module.end(one.node)
        before = self.module.source.text[start:end]
        after = before.replace(one.written, name) if isinstance(one.node, cst.SimpleString) else name
        if after != before:
            self.edits.append(Edit(start, end, after))
        if one.method not in self.followed:
            self.followed.append(one.method)

    def _warn_of_removed(self, node: cst.ClassDef) -> None:
        known = {method.name for method in self.contract.methods}
        for name, method in members(node):
            if method is None or name in known or name.startswith("_") or not self._was_handler(method):
                continue
            message = f"{name} no longer handles any rpc of the contract; it was left as it is"
            hint = "remove it, or move its code to where the contract now wants it"
            self._warn(self.module.start(method.name), HandlerCode.NO_RPC, message, hint)

    def _was_handler(self, method: cst.FunctionDef) -> bool:
        """An async method that takes and gives messages of the contract, and that nothing here calls."""
        annotations = [written_name(node) for node in _annotation_nodes(method) if node is not None]
        targets = [self.module.resolve(written[0]) for written in annotations if written]
        are_messages = [
            target is not None and target.module.startswith(f"{PB_PACKAGE}.") for target in targets
        ]
        # Parsed as code: a handler that is not written yet names itself in the message that it raises.
        is_called = any(
            isinstance(node, ast.Attribute) and node.attr == method.name.value
            for node in ast.walk(ast.parse(self.module.source.text))
        )
        return method.asynchronous is not None and are_messages == [True, True] and not is_called

    def _report_lost_imports(self) -> None:
        """Imports of messages that the contract no longer has: the service would not start."""
        modules = {target.module for target in self.contract.messages}
        edited = {edit.start for edit in self.edits}
        for item in self.module.imported:
            full_name = f"{item.target.module}.{item.target.name}"
            is_module = any(f"{module}.".startswith(f"{full_name}.") for module in modules)
            is_known = item.target in self.contract.messages or is_module
            if not item.target.module.startswith(f"{PB_PACKAGE}.") or is_known:
                continue
            if item.target.name.startswith("_") or self.module.start(item.alias.name) in edited:
                continue
            lines = sorted({self.module.line(node) for node in self.module.uses(item.local)})
            used = f", used in line {', '.join(map(str, lines))}" if lines else ""
            message = f"the contract no longer has {item.target.name}{used}"
            hint = "use what the contract has instead, and remove the import"
            self._report(self.module.start(item.alias), HandlerCode.LOST_MESSAGE, message, hint)

    def _report_unknown_fields(self) -> None:
        source, shapes = self.module.source, self.contract.shapes
        for one in unknown_fields(source.text, self.module.certain, shapes, self.renamed):
            at = source.offset(one.line, one.column)
            self._report(at, HandlerCode.UNKNOWN_FIELD, one.message, one.hint)

    def _report(self, offset: int, code: HandlerCode, message: str, hint: str) -> None:
        self.findings.append(self._finding(offset, Severity.ERROR, code, message, hint))

    def _warn(self, offset: int, code: HandlerCode, message: str, hint: str) -> None:
        self.findings.append(self._finding(offset, Severity.WARNING, code, message, hint))

    def _finding(
        self, offset: int, severity: Severity, code: HandlerCode, message: str, hint: str
    ) -> Diagnostic:
        source = self.module.source
        column = offset - source.line_start(offset) + 1
        return Diagnostic(
            Span(self.contract.path, source.line(offset), column), severity, code, message, hint
        )


@dataclass(frozen=True, slots=True)
class _Annotation:
    """A handler's annotation of a type that the contract decides."""

    method: str
    node: cst.BaseExpression
    target: PyClass
    """The type that the contract wants."""

    @property
    def written(self) -> str:
        found = written_name(self.node)
        return found[0] if found else ""


def _annotations(
    method: cst.FunctionDef, wanted: HandlerMethod
) -> Iterator[tuple[cst.BaseExpression, PyClass]]:
    for node, target in zip(_annotation_nodes(method), (wanted.request, wanted.response), strict=True):
        if node is not None:
            yield node, target


def _annotation_nodes(
    method: cst.FunctionDef,
) -> tuple[cst.BaseExpression | None, cst.BaseExpression | None]:
    """Of the request and of the response."""
    parameters = [*method.params.posonly_params, *method.params.params]
    request = parameters[1].annotation if len(parameters) > 1 else None
    return request and request.annotation, method.returns and method.returns.annotation
