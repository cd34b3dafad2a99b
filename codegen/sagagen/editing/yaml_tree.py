"""A YAML file as a tree that knows where each value begins and ends, so that another can be inserted beside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode

from sagagen.contract.composing import compose
from sagagen.workspace.source_text import SourceText

Kind = Literal["mapping", "sequence", "scalar", "nothing"]


@dataclass(frozen=True, slots=True)
class Place:
    """A value. Indices count characters of the text; columns from 0."""

    kind: Kind
    start: int
    end: int
    """After its last character; comments and blank lines behind it are not part of it."""
    column: int
    is_flow: bool
    """In brackets."""
    is_alias: bool
    """Written elsewhere, at its anchor."""
    text: str
    """Of a scalar."""
    entries: tuple["Pair", ...] = ()
    items: tuple["Place", ...] = ()

    def pair(self, key: str) -> "Pair | None":
        return next((pair for pair in self.entries if pair.key.text == key), None)


@dataclass(frozen=True, slots=True)
class Pair:
    key: Place
    colon: int
    """Just behind the colon."""
    value: Place


def read_tree(source: SourceText) -> Place | None:
    """None for an empty document. Raises what `compose` raises."""
    root = compose(source.text)
    return _Reader(source.text, set()).place(root) if root is not None else None


@dataclass(frozen=True, slots=True)
class _Reader:
    text: str
    seen: set[int]

    def place(self, yaml: YamlNode) -> Place:
        is_alias = id(yaml) in self.seen
        self.seen.add(id(yaml))
        start, end = _index(yaml, "start_mark"), _index(yaml, "end_mark")
        column = cast(int, cast(Any, yaml).start_mark.column)
        is_flow = bool(cast(Any, yaml).flow_style) if not isinstance(yaml, ScalarNode) else False
        if isinstance(yaml, ScalarNode):
            if start == end:
                return Place("nothing", start, end, column, is_flow, is_alias, "")
            end = start + len(self.text[start:end].rstrip())
            return Place("scalar", start, end, column, is_flow, is_alias, cast(str, cast(Any, yaml).value))
        if is_alias:
            kind: Kind = "mapping" if isinstance(yaml, MappingNode) else "sequence"
            return Place(kind, start, end, column, is_flow, is_alias, "")
        if isinstance(yaml, SequenceNode):
            items = tuple(self.place(item) for item in cast(list[YamlNode], yaml.value))
            end = end if is_flow else _last((item.end for item in items), start)
            return Place("sequence", start, end, column, is_flow, is_alias, "", items=items)
        pairs = tuple(self._pairs(yaml))
        end = end if is_flow else _last((max(pair.colon, pair.value.end) for pair in pairs), start)
        return Place("mapping", start, end, column, is_flow, is_alias, "", entries=pairs)

    def _pairs(self, yaml: YamlNode) -> Iterator[Pair]:
        for key, value in cast(list[tuple[YamlNode, YamlNode]], yaml.value):
            key_place = self.place(key)
            colon = self.text.find(":", key_place.end) + 1
            value_place = self.place(value)
            if value_place.kind == "nothing" or value_place.is_alias:
                # YAML puts an empty value at the next token, and an alias at its anchor.
                end = colon if value_place.kind == "nothing" else self._alias_end(colon)
                value_place = Place(
                    value_place.kind, colon, end, key_place.column, False, value_place.is_alias, ""
                )
            yield Pair(key_place, colon, value_place)

    def _alias_end(self, colon: int) -> int:
        rest = self.text[colon:]
        return colon + len(rest) - len(rest.lstrip()) + len(rest.split(None, 1)[0])


def _index(yaml: YamlNode, mark: str) -> int:
    return cast(int, getattr(cast(Any, yaml), mark).index)


def _last(ends: Iterator[int], start: int) -> int:
    return max(ends, default=start)
