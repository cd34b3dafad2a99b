"""Where new methods go in a handlers' class, and their text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import libcst as cst

from sagagen.emit.handler_contract import HandlerMethod
from sagagen.workspace.handler_module import HandlerModule
from sagagen.workspace.source_text import Edit

WIDTH = 110

Lines = tuple[str, ...]
"""The lines, with one tab for each level of indentation, whatever the file uses."""


def method_text(method: HandlerMethod, names: Sequence[str]) -> Lines:
    """`names`: the names of request, Call, response, RpcError and Status in the file."""
    request, call, response, rpc_error, status = names
    parameters = f"self, request: {request}, call: {call}"
    signature = f"async def {method.name}({parameters}) -> {response}:"
    lines = (signature,)
    if len(signature) + 4 > WIDTH:
        lines = (f"async def {method.name}(", f"\t{parameters}", f") -> {response}:")
    doc = tuple(f"\t{line}" if line else "" for line in method.doc)
    return (*lines, *doc, f"\traise {rpc_error}({status}.UNIMPLEMENTED, {method.unwritten})")


@dataclass
class MethodPlaces:
    """New methods of one class, each beside its nearest neighbour in the contract's order."""

    module: HandlerModule
    node: cst.ClassDef
    order: Sequence[str]
    """All methods of the contract."""
    _new: dict[str, Lines] = field(default_factory=dict[str, Lines])

    def add(self, name: str, lines: Lines) -> None:
        """Call it in the contract's order."""
        self._new[name] = lines

    def edits(self) -> Iterator[Edit]:
        """New methods that go to one place come in one edit, in the contract's order."""
        behind: dict[str, list[Lines]] = {}
        before: dict[str, list[Lines]] = {}
        nowhere: list[Lines] = []
        for name, lines in self._new.items():
            previous, following = self._neighbours(name)
            if previous is not None:
                behind.setdefault(previous, []).append(lines)
            elif following is not None:
                before.setdefault(following, []).append(lines)
            else:
                nowhere.append(lines)
        yield from (self._behind(self._methods[name], texts) for name, texts in behind.items())
        yield from (self._before(self._methods[name], texts) for name, texts in before.items())
        if nowhere:
            yield from self._at_the_end(nowhere)

    @property
    def _methods(self) -> dict[str, cst.FunctionDef]:
        return {node.name.value: node for node in self.node.body.body if isinstance(node, cst.FunctionDef)}

    def _neighbours(self, name: str) -> tuple[str | None, str | None]:
        at = self.order.index(name)
        previous = next((other for other in reversed(self.order[:at]) if other in self._methods), None)
        following = next((other for other in self.order[at:] if other in self._methods), None)
        return previous, following

    def _behind(self, method: cst.FunctionDef, texts: list[Lines]) -> Edit:
        return self._below(self._end(method), self._indentation(method), self._inner(method), texts)

    def _below(self, end: int, outer: str, inner: str, texts: list[Lines]) -> Edit:
        """Below the line of `end` and the comments that belong to it."""
        source = self.module.source
        newline = source.newline(end)
        parts = [newline + _indented(lines, outer, inner, newline) for lines in texts]
        if not source.ends_line(end):
            text = newline + "".join(parts)
            return Edit(len(source.text), len(source.text), text.removesuffix(newline))
        at = source.next_line(end)
        return Edit(at, at, "".join(parts))

    def _before(self, method: cst.FunctionDef, texts: list[Lines]) -> Edit:
        source, at = self.module.source, self._start(method)
        newline = source.newline(at)
        outer, inner = self._indentation(method), self._inner(method)
        text = "".join(_indented(lines, outer, inner, newline) + newline for lines in texts)
        return Edit(at, at, text)

    def _at_the_end(self, texts: list[Lines]) -> Iterator[Edit]:
        body, source = self.node.body, self.module.source
        if isinstance(body, cst.IndentedBlock):
            last = body.body[-1]
            outer = source.indentation(self.module.start(body.body[0]))
            yield self._below(self._tail(self.module.end(last), outer), outer, self._unit, texts)
            return
        # `class OrderService(OrderHandlers): pass` becomes a block; its text stays as it is.
        start, end = self.module.start(body.body[0]), self.module.end(body.body[-1])
        outer = source.indentation(self.module.start(self.node)) + self._unit
        yield Edit(start, start, source.newline(start) + outer)
        yield self._below(end, outer, self._unit, texts)

    @property
    def _unit(self) -> str:
        return self.module.tree.default_indent

    def _indentation(self, method: cst.FunctionDef) -> str:
        return self.module.source.indentation(self.module.start(method))

    def _inner(self, method: cst.FunctionDef) -> str:
        """The indentation of the neighbour's body."""
        indent = method.body.indent if isinstance(method.body, cst.IndentedBlock) else None
        return indent if indent is not None else self._unit

    def _end(self, method: cst.FunctionDef) -> int:
        return self._tail(self.module.end(method), self._indentation(method))

    def _tail(self, end: int, outer: str) -> int:
        """The end of the last comment that is indented deeper than `outer` and follows `end` before any code."""
        source, last = self.module.source, end
        at = source.next_line(end)
        while at < len(source.text):
            line = source.text[at : source.line_end(at)]
            if line.strip(" \t\f") and not (line.lstrip().startswith("#") and _is_deeper(line, outer)):
                break
            last = source.line_end(at) if line.strip() else last
            if source.next_line(at) == at:
                break
            at = source.next_line(at)
        return last

    def _start(self, method: cst.FunctionDef) -> int:
        """The beginning of its first line, including its decorators and the comments directly above."""
        source = self.module.source
        first = method.decorators[0] if method.decorators else method
        at = source.line_start(self.module.start(first))
        while at:
            above = source.line_start(at - 1)
            if not source.text[above:at].lstrip().startswith("#"):
                break
            at = above
        return at


def _is_deeper(line: str, outer: str) -> bool:
    indentation = line[: len(line) - len(line.lstrip())]
    return indentation.startswith(outer) and len(indentation) > len(outer)


def _indented(lines: Lines, outer: str, inner: str, newline: str) -> str:
    return "".join(_line(line, outer, inner) + newline for line in lines)


def _line(line: str, outer: str, inner: str) -> str:
    text = line.lstrip("\t")
    return outer + inner * (len(line) - len(text)) + text if text else ""
