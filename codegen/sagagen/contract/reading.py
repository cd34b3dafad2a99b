"""The tree of saga.yaml -> typed shapes. What is wrong is reported and cut out, so that the rest is still checked."""

from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sagagen.contract import element_shape, security_shape
from sagagen.contract.broken import Broken, BrokenSecurity
from sagagen.contract.codes import Code
from sagagen.contract.findings import error
from sagagen.contract.located import Block, Items, Key, empty_block, text_scalar
from sagagen.contract.shape import SagaFile, SagaShape
from sagagen.contract.words import kind_of
from sagagen.diagnostics import Diagnostic, Report
from sagagen.source import Mapping, Scalar, Span

Step = str | int
REQUIRED_AT_THE_TOP = frozenset({"version", "project", "services", "sagas"})
TAGS = element_shape.TAGS | security_shape.TAGS
DECISIVE = frozenset(
    {"kind", "within", "at_most", "for_each", "on_give_up", "on_timeout", "decline", "after", "at", "rate"}
)
"""Keys that are optional, but without which what has them makes no sense: a default would cause findings of its own."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The readable part of saga.yaml, and the names of what had to be left out.

    A lookup of one of those names finds nothing and reports nothing, since the reason was already reported. The empty
    name means that any name may be missing.
    """

    file: SagaFile
    broken_services: frozenset[str]
    broken_sagas: frozenset[str]
    broken: MappingOf[str, Broken]
    """For each saga."""
    broken_security: BrokenSecurity
    security_span: Span
    """Of the section's key; of the file without one."""


def read_shapes(root: Mapping, report: Report) -> Reading:
    block = Block(root)
    file = _Cutter(block, report).read()
    partial = [
        name for name, service in _blocks(block, "services") if _has_removed(service.get("implements"))
    ]
    return Reading(
        file,
        frozenset([*_removed(block, "services"), *partial]),
        frozenset(_removed(block, "sagas")),
        {name: _broken(saga) for name, saga in _blocks(block, "sagas")},
        _broken_security(block),
        key.span if (key := block.key("security")) else root.span,
    )


def read_saga(name: Key, root: Mapping, report: Report) -> SagaShape | None:
    """A saga with a file of its own. None if anything in it is wrong, which is then reported."""
    found: list[Diagnostic] = []
    whole = empty_block(root.span)
    sagas = empty_block(root.span)
    sagas[name] = Block(root)
    whole[Key(text_scalar("sagas", root.span))] = sagas
    for key in REQUIRED_AT_THE_TOP - {"sagas"}:
        stand_in(whole, key)
    file = _Cutter(whole, found.append).read()
    for finding in found:
        report(finding)
    return None if found else file.sagas[name]


def _blocks(block: Block, key: str) -> list[tuple[str, Block]]:
    inner = block.get(key)
    items = inner.items() if isinstance(inner, Block) else ()
    return [(name, value) for name, value in items if isinstance(value, Block)]


def _removed(block: Block, key: str) -> list[str]:
    inner = block.get(key)
    names = list(inner.removed) if isinstance(inner, Block) else []
    return [*names, ""] if key in block.removed else names


def _has_removed(value: object) -> bool:
    return isinstance(value, Block | Items) and bool(value.removed)


def _broken(saga: Block) -> Broken:
    return Broken(frozenset(_names_of_removed(saga.get("steps"))), frozenset(_removed(saga, "events")))


def _broken_security(block: Block) -> BrokenSecurity:
    section = block.get("security")
    if not isinstance(section, Block):
        everything = frozenset({""}) if "security" in block.removed else frozenset[str]()
        return BrokenSecurity(everything, everything)
    partial = [name for name, scheme in _blocks(section, "schemes") if _has_removed(scheme.get("claims"))]
    is_default_broken = "default" in section.removed or _has_removed(section.get("default"))
    rules = [*_removed(section, "routes"), *([""] if is_default_broken else [])]
    return BrokenSecurity(frozenset([*_removed(section, "schemes"), *partial]), frozenset(rules))


def _names_of_removed(steps: object) -> Iterator[str]:
    """Of elements that were cut out of a list, or out of the blocks in it."""
    if not isinstance(steps, Items):
        return
    for step in steps.removed:
        yield from _names_within(step)
    for branches in (step.get("parallel") for step in steps if isinstance(step, Block)):
        if isinstance(branches, Block):
            yield from (name for branch in branches.values() for name in _names_of_removed(branch))
            yield from (name for branch in branches.removed.values() for name in _names_of(branch))


def _names_of(steps: object) -> Iterator[str]:
    """Of all elements of a list."""
    if isinstance(steps, Items):
        yield from (name for step in (*steps, *steps.removed) for name in _names_within(step))
    else:
        yield ""


def _names_within(step: object) -> Iterator[str]:
    """Its own name, and those in its branches."""
    yield _step_name(step)
    branches = step.get("parallel", step.removed.get("parallel")) if isinstance(step, Block) else None
    if isinstance(branches, Block):
        inner = (*branches.values(), *branches.removed.values())
        yield from (name for branch in inner for name in _names_of(branch))
    elif branches is not None:
        yield ""


def _step_name(step: object) -> str:
    name = step.get("name") if isinstance(step, Block) else None
    return name.text if isinstance(name, Scalar) else ""


@dataclass(slots=True)
class _Cutter:
    """Validates, reports, cuts out what was wrong, and validates again until what is left is whole."""

    root: Block
    report: Report

    def read(self) -> SagaFile:
        while True:
            try:
                return SagaFile.model_validate(self.root, context=self.report)
            except ValidationError as error:
                # Find all of them before cutting any: cutting moves the indices of a list.
                for doomed in [self._settle(details) for details in error.errors(include_url=False)]:
                    self._cut(doomed)

    def _settle(self, details: ErrorDetails) -> "_Doomed":
        path = tuple(part for part in details["loc"] if part not in TAGS)
        if path[-1] == "[key]":
            path = path[:-1]
        if details["type"] == "missing":
            self._report_missing(path[:-1], str(path[-1]))
            path = path[:-1] or path
        else:
            self.report(self._finding(details, path))
        path = path[:-1] if path[-1] in DECISIVE else path
        return _Doomed(self._value(path[:-1]), path[-1], self._value(path))

    def _report_missing(self, owner_path: tuple[Step, ...], name: str) -> None:
        owner = self._value(owner_path)
        if name not in owner.removed:
            message, hint = f'the key "{name}" is missing here', f"add {name}: ..."
            self.report(error(self._place(owner_path), Code.MISSING_KEY, message, hint))

    def _finding(self, details: ErrorDetails, path: tuple[Step, ...]) -> Diagnostic:
        at, context = self._place(path), details.get("ctx", {})
        if details["type"] in set(Code):
            if context["key"]:
                at = self._key_place(path, context["key"])
                return error(at, Code(details["type"]), context["message"], context["hint"])
            message = f"{_named(path)}{context['message']}"
            return error(at, Code(details["type"]), message, context["hint"])
        expected = "a list" if details["type"] == "list_type" else "a mapping of keys"
        found = kind_of(self._value(path))
        hint = "write each item on its own line, after a dash" if expected == "a list" else "write key: value"
        return error(at, Code.WRONG_SHAPE, f"{_named(path)}{expected} is expected here, not {found}", hint)

    def _value(self, path: tuple[Step, ...]) -> Any:
        value: Any = self.root
        for part in path:
            value = value.get(str(part)) if isinstance(value, Block) else value[part]
        return value

    def _place(self, path: tuple[Step, ...]) -> Span:
        """The value itself if it is a scalar, otherwise its key; the item, if it is in a list."""
        value = self._value(path)
        if isinstance(value, Scalar):
            return value.span
        owner = self._value(path[:-1]) if path else None
        key = owner.key(str(path[-1])) if isinstance(owner, Block) else None
        if key is not None:
            return key.span
        first = next(iter(value), None) if isinstance(value, Block) else None
        return first.span if isinstance(first, Key) else value.node.span

    def _key_place(self, path: tuple[Step, ...], name: str) -> Span:
        """Of a key in the mapping at `path`."""
        key = self._value(path).key(name)
        return self._place(path) if key is None else key.span

    def _cut(self, doomed: "_Doomed") -> None:
        if isinstance(doomed.owner, Items):
            doomed.owner.remove_item(doomed.value)
        elif doomed.name == "compensate":
            doomed.owner["compensate"] = text_scalar("none", self.root.node.span)
        else:
            doomed.owner.remove(str(doomed.name))
        if doomed.owner is self.root and doomed.name in REQUIRED_AT_THE_TOP:
            stand_in(self.root, str(doomed.name))


def _named(path: tuple[Step, ...]) -> str:
    """`retry.max: `: the key that a value is of, below the one before it; an item by the list's key."""
    keys = [part for part in path if isinstance(part, str)]
    return f"{'.'.join(keys[-2:])}: " if keys else ""


def stand_in(root: Block, name: str) -> None:
    """Something valid in place of a missing key at the top, so that the rest can be read."""
    at = root.node.span
    texts = {"version": "v1", "project": "project"}
    value = text_scalar(texts[name], at) if name in texts else empty_block(at)
    root[Key(text_scalar(name, at))] = value


@dataclass(frozen=True, slots=True)
class _Doomed:
    """A value to cut out; None if it is missing at the top, where there is no owner to cut out instead."""

    owner: Block | Items
    name: Step
    value: object
