"""Puts an entry or an item into a YAML file, in the style of its neighbours."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sagagen.editing.text import CannotAdd, end_of_comments, has_blank_line
from sagagen.editing.yaml_tree import Pair, Place
from sagagen.workspace.source_text import Edit, SourceText

Value: TypeAlias = "str | Mapping[str, Value] | Sequence[Value]"
"""What is added. Scalars are written without quotes, which names, calls and expressions do not need."""
WORDS = frozenset({"null", "true", "false"})
"""Without quotes, YAML does not read these as text."""
INDENT = 2
FIRST = -1
"""The index for an item that comes before all others."""


def scalar(text: str) -> str:
    return f'"{text}"' if text in WORDS else text


def flow(value: Value) -> str:
    """On one line."""
    if isinstance(value, str):
        return scalar(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{scalar(key)}: {flow(inner)}" for key, inner in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    return f"[{', '.join(flow(inner) for inner in value)}]"


def block(value: Mapping[str, Value], column: int, indent: int, levels: int = 1) -> list[str]:
    """Each key on its own line, down to `levels` levels; everything deeper goes on one line."""
    lines: list[str] = []
    for key, inner in value.items():
        if levels > 1 and isinstance(inner, Mapping):
            lines += [f"{' ' * column}{scalar(key)}:", *block(inner, column + indent, indent, levels - 1)]
        else:
            lines.append(f"{' ' * column}{scalar(key)}: {flow(inner)}")
    return lines


@dataclass(frozen=True, slots=True)
class Insertion:
    """Adds to the mapping or sequence at the end of `owners`, the pairs that lead to it from the top."""

    source: SourceText
    root: Place
    owners: tuple[Pair, ...]

    @property
    def value(self) -> Place:
        return self.owners[-1].value if self.owners else self.root

    def entry(
        self, key: str, value: Mapping[str, Value], *, spaced: bool = False, levels: int = 1
    ) -> list[Edit]:
        """`spaced`: whether a blank line goes above it, if the existing entries do not decide that."""
        self._refuse_alias()
        if self.value.is_flow and (self.value.entries or self._is_inside_flow):
            return self._into_flow(
                f"{scalar(key)}: {flow(value)}", [pair.value for pair in self.value.entries]
            )
        entries = self.value.entries
        column = entries[-1].key.column if entries else self._child_column
        return self._as_block(
            self._entry_lines(key, value, column, levels), column, self._spaced_entries(spaced)
        )

    def item(self, value: Mapping[str, Value], after: int | None = None, *, levels: int = 1) -> list[Edit]:
        """Behind the item of that index, before all of them (FIRST), or at the end.

        `levels` of mappings have each key on a line of its own.
        """
        self._refuse_alias()
        items = self.value.items
        if self.value.is_flow and (items or self._is_inside_flow):
            if after is None or after == len(items) - 1:
                return self._into_flow(flow(value), items)
            return self._between(flow(value), after)
        column = self.value.column if items else self._child_column
        lines = self._item_lines(value, column, levels)
        is_spaced = len(items) > 1 and has_blank_line(self.source.text[items[-2].end : items[-1].start])
        if after == FIRST and items:
            return self._behind(self.owners[-1].colon, lines, sys.maxsize, is_spaced=False)
        if after is not None and after < len(items) - 1:
            return self._behind(items[after].end, lines, column + 1, is_spaced)
        return self._as_block(lines, column, is_spaced)

    def _refuse_alias(self) -> None:
        if any(owner.value.is_alias for owner in self.owners):
            line = self.source.line(self.owners[-1].key.start)
            raise CannotAdd(
                f"line {line}: there is a YAML alias; write the value out, then it can be added to"
            )

    @property
    def _is_inside_flow(self) -> bool:
        return any(owner.value.is_flow for owner in self.owners[:-1]) or self.root.is_flow

    @property
    def _child_column(self) -> int:
        return (self.owners[-1].key.column + self._indent) if self.owners else 0

    @property
    def _indent(self) -> int:
        """The indentation of one level in the rest of the file."""
        for owner in (*reversed(self.owners), *self.root.entries):
            inner = owner.value
            if inner.kind == "mapping" and not inner.is_flow and inner.column > owner.key.column:
                return inner.column - owner.key.column
        return INDENT

    def _entry_lines(self, key: str, value: Mapping[str, Value], column: int, levels: int) -> list[str]:
        entries = self.value.entries
        model = entries[-1] if entries else None
        if model is not None and model.value.kind == "mapping":
            if model.value.is_flow:
                return [f"{' ' * column}{scalar(key)}: {flow(value)}"]
            indent = max(model.value.column - model.key.column, 1)
        elif model is None and levels == 1:
            return [f"{' ' * column}{scalar(key)}: {flow(value)}"]
        else:
            indent = self._indent
        return [f"{' ' * column}{scalar(key)}:", *block(value, column + indent, indent, max(levels - 1, 1))]

    def _item_lines(self, value: Mapping[str, Value], column: int, levels: int) -> list[str]:
        model = self.value.items[-1] if self.value.items else None
        if model is not None and model.is_flow:
            return [f"{' ' * column}- {flow(value)}"]
        inner = model.column if model is not None and model.kind == "mapping" else column + INDENT
        lines = block(value, inner, INDENT, levels)
        return [f"{' ' * column}-{lines[0][column + 1 :]}", *lines[1:]]

    def _spaced_entries(self, otherwise: bool) -> bool:
        entries = self.value.entries
        if len(entries) < 2:
            return otherwise and bool(entries)
        return has_blank_line(self.source.text[entries[-2].value.end : entries[-1].key.start])

    def _as_block(self, lines: list[str], column: int, is_spaced: bool) -> list[Edit]:
        """Behind the last one; replaces an empty value or empty brackets."""
        value = self.value
        if value.entries or value.items:
            return self._behind(value.end, lines, column, is_spaced)
        if not self.owners:
            return self._behind(len(self.source.text.rstrip()), lines, column, is_spaced)
        return [
            Edit(self.owners[-1].colon, value.end, ""),
            *self._behind(value.end, lines, column, is_spaced),
        ]

    def _behind(self, end: int, lines: list[str], least_indent: int, is_spaced: bool) -> list[Edit]:
        at = end_of_comments(self.source, end, least_indent)
        newline = self.source.newline(end)
        text = newline.join(["", *([""] if is_spaced else []), *lines])
        return [Edit(at, at, text)]

    def _into_flow(self, text: str, before: Sequence[Place]) -> list[Edit]:
        """The last one before the closing bracket."""
        source, close = self.source, self.value.end - 1
        if not before:
            pad = " " if self.value.kind == "mapping" else ""
            return [Edit(close, close, f"{pad}{text}{pad}")]
        last = before[-1].end
        comma = _comma(source.text, last, close)
        at = last if comma is None else comma
        first, second = (",", "") if comma is None else ("", ",")
        if source.line(close) == source.line(at):
            is_spread = source.line(before[0].start) != source.line(last) and len(before) > 1
            gap = f"{source.newline(at)}{source.indentation(last)}" if is_spread else " "
            return [Edit(at, at, f"{first}{gap}{text}{second}")]
        end = source.line_end(at)
        below = f"{source.newline(at)}{source.indentation(before[-1].start)}{text}{second}"
        return [Edit(at, at, first), Edit(end, end, below)]

    def _between(self, text: str, after: int) -> list[Edit]:
        """Before an item of a list in brackets."""
        source, items = self.source, self.value.items
        following = items[after + 1]
        if after != FIRST and source.is_first_on_line(following.start):
            start = source.line_end(items[after].end)
            indent = source.indentation(following.start)
            return [Edit(start, start, f"{source.newline(start)}{indent}{text},")]
        return [Edit(following.start, following.start, f"{text}, ")]


def _comma(text: str, start: int, end: int) -> int | None:
    """Just behind the comma that follows the last item, if one does."""
    at = start
    while at < end:
        if text[at] == "#":
            at = text.find("\n", at, end)
            if at < 0:
                return None
        elif text[at] == ",":
            return at + 1
        at += 1
    return None
