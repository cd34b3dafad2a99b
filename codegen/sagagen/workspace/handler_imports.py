"""Imports that a handler file needs and does not have yet: where they go, and their names there."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, groupby

import libcst as cst

from sagagen.python_names import PyClass, class_name
from sagagen.workspace.handler_module import HandlerModule, Imported, absolute_module
from sagagen.workspace.source_text import Edit

WIDTH = 110
"""Longest line that we write; a longer import is put in parentheses."""
FIRST_PARTY = frozenset({"gateway", "generated", "handlers", "sagagen"})


@dataclass
class ImportNeeds:
    """Collects what the edits of one file need to import; `edits` come at the end."""

    module: HandlerModule
    class_bound: frozenset[str] = frozenset()
    """The names that the handlers' class binds: in its body they mean something else."""
    _local: dict[PyClass, str] = field(default_factory=dict[PyClass, str])
    _missing: list[PyClass] = field(default_factory=list[PyClass])

    def name(self, target: PyClass) -> str:
        """The name of `target` in the file, now or after the edit."""
        if target not in self._local:
            self._local[target] = self._at_hand(target) or self._new(target)
        return self._local[target]

    def take_over(self, target: PyClass, local: str) -> None:
        """An existing import will bring `target`, as `local`."""
        self._local[target] = local

    def is_at_hand(self, target: PyClass) -> bool:
        return target in self._local or self._at_hand(target) is not None

    def _at_hand(self, target: PyClass) -> str | None:
        for item in self.module.imported:
            if item.is_top_level and item.target == target and self._is_unambiguous(item.local):
                return item.local
        if target.module in self.module.starred and not self._is_bound(target.name):
            return target.name
        for written, module in self.module.modules.items():
            if module == target.module and self._is_unambiguous(written.partition(".")[0]):
                return f"{written}.{target.name}"
        return None

    def _is_unambiguous(self, local: str) -> bool:
        return self.module.bound[local] == 1 and local not in self.class_bound

    def _is_bound(self, name: str) -> bool:
        return bool(self.module.bound[name]) or name in self.class_bound

    def _new(self, target: PyClass) -> str:
        self._missing.append(target)
        taken = set(self._local.values())
        wishes = (target.name, *_aliases(target))
        free = (wish for wish in wishes if not self.module.names[wish] and wish not in taken)
        return next(free, None) or next(
            wish for n in count(2) if not self.module.names[wish := f"{target.name}{n}"] and wish not in taken
        )

    def edits(self) -> Iterator[Edit]:
        """The imports that are missing, each module's names together."""
        by_module: dict[str, list[str]] = {}
        for target in self._missing:
            local = self._local[target]
            clause = target.name if local == target.name else f"{target.name} as {local}"
            by_module.setdefault(target.module, []).append(clause)
        statements: dict[str, str] = {}
        for module, clauses in sorted(by_module.items(), key=lambda item: _module_key(item[0])):
            statement = self._statement_of(module)
            if statement is None:
                statements[module] = self._statement(module, sorted(clauses, key=_member_key))
            else:
                yield from _Extension(self.module, statement).edits(sorted(clauses, key=_member_key))
        yield from self._placed(statements)

    def _statement_of(self, module: str) -> cst.ImportFrom | None:
        found = (
            item.statement
            for item in self.module.imported
            if item.is_top_level and item.target.module == module
        )
        return next(found, None)

    def _statement(self, module: str, clauses: list[str]) -> str:
        line = f"from {module} import {', '.join(clauses)}"
        if len(line) <= WIDTH:
            return line + self._newline
        inner = "".join(f"    {clause},{self._newline}" for clause in clauses)
        return f"from {module} import ({self._newline}{inner}){self._newline}"

    @property
    def _newline(self) -> str:
        return self.module.source.newline(0)

    def _placed(self, statements: Mapping[str, str]) -> Iterator[Edit]:
        """Where isort would put them, if the existing imports are in isort's order."""
        sections = [
            (section, [(module, statements[module]) for module in modules])
            for section, modules in groupby(statements, lambda module: _module_key(module)[0])
        ]
        there = {_statement_key(statement)[0] for statement in self.module.top_level_imports}
        blocks = {
            section: "".join(text for _, text in lines) for section, lines in sections if section not in there
        }
        if blocks and not there:
            yield self._first(self._newline.join(blocks.values()))
        elif blocks:
            yield from (self._new_section(section, text) for section, text in blocks.items())
        for section, lines in sections:
            if section in there:
                yield from (self._among(module, text) for module, text in lines)

    def _among(self, module: str, text: str) -> Edit:
        key = _module_key(module)
        section = [
            statement for statement in self.module.top_level_imports if _statement_key(statement)[0] == key[0]
        ]
        before = [statement for statement in section if _statement_key(statement) <= key]
        return self._below(before[-1], text) if before else self._above(section[0], text)

    def _new_section(self, section: int, text: str) -> Edit:
        imports = self.module.top_level_imports
        lower = [statement for statement in imports if _statement_key(statement)[0] < section]
        if lower:
            return self._below(lower[-1], self._newline + text)
        return self._above(imports[0], text + self._newline)

    def _below(self, statement: cst.CSTNode, text: str) -> Edit:
        source, end = self.module.source, self.module.end(statement)
        at = source.next_line(end)
        if source.ends_line(end):
            return Edit(at, at, text)
        return Edit(at, at, self._newline + text.removesuffix(self._newline))

    def _above(self, statement: cst.CSTNode, text: str) -> Edit:
        at = self.module.source.line_start(self.module.start(statement))
        return Edit(at, at, text)

    def _first(self, text: str) -> Edit:
        """In a file without imports: below the docstring, or above the code."""
        body = self.module.tree.body
        if self.module.tree.get_docstring(clean=False) is not None:
            return self._below(body[0], self._newline + text)
        first = body[0]
        decorators = first.decorators if isinstance(first, cst.ClassDef | cst.FunctionDef) else ()
        return self._above(decorators[0] if decorators else first, text + self._newline * 2)


def renamed(module: HandlerModule, item: Imported, name: str) -> Edit:
    """The edit that lets an import take `name` instead."""
    return Edit(module.start(item.alias.name), module.end(item.alias.name), name)


@dataclass(frozen=True, slots=True)
class _Extension:
    """Adds names to an existing import, in alphabetical order if it is sorted, otherwise at its end."""

    module: HandlerModule
    statement: cst.ImportFrom

    def edits(self, clauses: list[str]) -> Iterator[Edit]:
        if self._grows_too_long(clauses):
            yield self._in_parentheses(clauses)
            return
        keys = [_member_key(self.module.text(alias.name)) for alias in self._aliases]
        by_place: dict[int, list[str]] = {}
        for clause in clauses:
            place = len(keys)
            if keys == sorted(keys):
                place = next((n for n, key in enumerate(keys) if key > _member_key(clause)), place)
            by_place.setdefault(place, []).append(clause)
        for place, together in by_place.items():
            yield from self._after(place - 1, together) if place else self._first(together)

    @property
    def _aliases(self) -> list[cst.ImportAlias]:
        return [] if isinstance(self.statement.names, cst.ImportStar) else list(self.statement.names)

    def _first(self, clauses: list[str]) -> Iterator[Edit]:
        at = self.module.start(self._aliases[0])
        separator = self._break(at) if self.module.source.is_first_on_line(at) else " "
        yield Edit(at, at, "".join(f"{clause},{separator}" for clause in clauses))

    def _after(self, place: int, clauses: list[str]) -> Iterator[Edit]:
        """Behind the name at `place`, and behind the comment on its line."""
        source, alias = self.module.source, self._aliases[place]
        start, end = self.module.start(alias), self.module.end(alias)
        has_comma = isinstance(alias.comma, cst.Comma)
        if not (self.statement.lpar and source.is_first_on_line(start)):
            yield Edit(end, end, "".join(f", {clause}" for clause in clauses))
            return
        behind = source.text.index(",", end) + 1 if has_comma else end
        rest = source.text[behind : source.line_end(behind)].strip()
        if rest and not rest.startswith("#"):  # more names, or the closing parenthesis, on the same line
            yield Edit(end, end, "".join(f", {clause}" for clause in clauses))
            return
        if not has_comma:
            yield Edit(end, end, ",")
        line_end, broken = source.line_end(behind), self._break(start)
        commas = [f"{broken}{clause}," for clause in clauses]
        yield Edit(line_end, line_end, "".join(commas) if has_comma else "".join(commas).removesuffix(","))

    def _break(self, at: int) -> str:
        return self.module.source.newline(at) + self.module.source.indentation(at)

    def _grows_too_long(self, clauses: list[str]) -> bool:
        source, start = self.module.source, self.module.start(self.statement)
        line = source.text[source.line_start(start) : source.line_end(start)]
        is_plain = not self.statement.lpar and line.strip() == self.module.text(self.statement)
        return is_plain and len(line) + sum(len(clause) + 2 for clause in clauses) > WIDTH

    def _in_parentheses(self, clauses: list[str]) -> Edit:
        first, last = self.module.start(self._aliases[0]), self.module.end(self._aliases[-1])
        newline = self.module.source.newline(first)
        there = [self.module.text(alias).removesuffix(",").rstrip() for alias in self._aliases]
        inner = "".join(f"    {clause},{newline}" for clause in sorted([*there, *clauses], key=_member_key))
        return Edit(first, last, f"({newline}{inner})")


def _aliases(target: PyClass) -> Iterator[str]:
    parts = [part for part in target.module.split(".") if part not in ("generated", "pb")]
    for n in range(1, len(parts) + 1):
        yield class_name("_".join(parts[-n:])) + target.name


def _member_key(clause: str) -> tuple[int, str, str]:
    """isort's order: constants, classes, then the rest; each ignoring case."""
    name = clause.split()[0]
    rank = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return rank, name.lower(), name


def _module_key(module: str) -> tuple[int, str]:
    top = module.partition(".")[0]
    if top == "__future__":
        return 0, module
    if top in FIRST_PARTY:
        return 3, module
    return (1 if top in sys.stdlib_module_names else 2), module


def _statement_key(statement: cst.ImportFrom | cst.Import) -> tuple[int, str]:
    """Plain imports come before all others of their section."""
    if isinstance(statement, cst.Import):
        return _module_key(statement.names[0].evaluated_name)[0], ""
    return (3, "") if statement.relative else _module_key(absolute_module(statement))
