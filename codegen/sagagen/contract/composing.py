"""YAML text -> ruamel.yaml's nodes: by libyaml if the text is plain and valid, otherwise by ruamel.yaml itself.

ruamel.yaml reads YAML 1.2, knows the place of everything and has the best error messages; but it is Python, and takes
100 us a value. libyaml takes a sixth of that, including making the nodes. The two agree on texts without `_UNLIKE`,
anchors, aliases and tags, except for the place of empty values, which is never needed. So libyaml goes first, and
ruamel.yaml reads again whatever libyaml refuses or may read differently: every report is in ruamel.yaml's words.
Violations of YAML's finer rules that only ruamel.yaml refuses may go unreported (decision 134).
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast

import yaml as libyaml
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_UNLIKE = re.compile(r"[\t\r%\x85\u2028\u2029\ufeff]|[|>][-+0-9]*#")
"""The two read tabs, directives, a comment right behind a block's mark, and line breaks that YAML 1.2 has dropped
differently."""

DEEPEST = 60
"""Levels of nesting: later stages are recursive, and must not exhaust Python's stack."""


class _Unusual(Exception):
    """Something that only ruamel.yaml should read."""


def compose(text: str) -> Node | None:
    """Nodes, whose marks are indices into `text`. Raises YAMLError, or RecursionError if it is nested too deeply."""
    # "safe" and pure: the round-trip reader hides fold marks in folded scalars, its own C one lacks exact places.
    reader = cast(Any, YAML(typ="safe", pure=True))
    reader.composer.warn_double_anchors = False  # YAML 1.2, 3.2.2.2: an anchor may be used again
    return reader.compose(text)


def compose_quickly(text: str) -> Node | None:
    """Like `compose`, except for the marks of empty values."""
    if not libyaml.__with_libyaml__ or _UNLIKE.search(text):
        return compose(text)
    try:
        return _Builder(text).root()
    except (_Unusual, libyaml.YAMLError):
        return compose(text)


class _Builder:
    """Makes nodes of libyaml's events."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = cast(Any, libyaml).parse(text, Loader=libyaml.CSafeLoader)
        # The same few keys and values appear everywhere.
        self._resolve = lru_cache(maxsize=4096)(cast(Any, YAML(typ="safe", pure=True)).resolver.resolve)

    def root(self) -> Node | None:
        """Raises _Unusual, or libyaml's YAMLError."""
        root: Node | None = None
        for event in self._events:
            if isinstance(event, libyaml.DocumentStartEvent):
                if root is not None or event.explicit:
                    raise _Unusual
            elif isinstance(event, libyaml.NodeEvent):
                root = self._node(event)
        return root

    def _node(self, event: Any) -> Node:
        """The node that begins with `event`, with everything in it."""
        top = self._begun(event)
        open_nodes = [] if isinstance(top, ScalarNode) else [top]
        while open_nodes:
            event = next(self._events)
            if isinstance(event, libyaml.CollectionEndEvent):
                _end(open_nodes.pop(), event.end_mark)
                continue
            node = self._begun(event)
            open_nodes[-1].value.append(node)
            if not isinstance(node, ScalarNode):
                open_nodes.append(node)
            if len(open_nodes) > DEEPEST:
                raise _Unusual
        return top

    def _begun(self, event: Any) -> Any:
        if isinstance(event, libyaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, libyaml.AliasEvent):
            raise _Unusual
        kind = SequenceNode if isinstance(event, libyaml.SequenceStartEvent) else MappingNode
        return kind(self._tag(event, kind), [], event.start_mark)

    def _scalar(self, event: Any) -> ScalarNode:
        if event.style in ("|", ">") and event.value.startswith("\n"):
            raise _Unusual  # ruamel.yaml refuses spaces in the empty lines before
        tag = self._tag(event, ScalarNode, event.value)
        return ScalarNode(tag, event.value, event.start_mark, event.end_mark, style=event.style or None)

    def _tag(self, event: Any, kind: type[Node], value: str | None = None) -> Any:
        if event.anchor is not None or event.tag is not None:
            raise _Unusual
        return self._resolve(kind, value, event.implicit)


def _end(node: Any, mark: Any) -> None:
    """Close a sequence, or a mapping whose keys and values alternate in one list so far."""
    node.end_mark = mark
    if node.id == MappingNode.id:
        keys, values = node.value[::2], node.value[1::2]
        # No key in saga.yaml is a collection or empty, and ruamel.yaml does not allow them everywhere.
        if any(key.id != ScalarNode.id or key.start_mark.index == key.end_mark.index for key in keys):
            raise _Unusual
        node.value = list(zip(keys, values, strict=True))
