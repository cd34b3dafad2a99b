"""YAML values for pydantic, which sees plain dicts and lists; we still know their places in the file."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from sagagen.source import Mapping, Node, Scalar, Sequence, Span

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Located(Generic[T]):
    """A value and its place in the file."""

    value: T
    scalar: Scalar

    @property
    def span(self) -> Span:
        return self.scalar.span

    def at(self, offset: int) -> Span:
        """The place of a character of the text."""
        return self.scalar.at(offset)


class Key(str):
    """A key of a mapping that knows its place."""

    span: Span

    def __new__(cls, scalar: Scalar) -> "Key":
        key = super().__new__(cls, scalar.text)
        key.span = scalar.span
        return key


class Block(dict[str, object]):
    """A mapping, and the parts of it that were reported and left out."""

    def __init__(self, node: Mapping) -> None:
        super().__init__((Key(entry.key), plain(entry.value)) for entry in node)
        self.node = node
        self.removed: dict[str, object] = {}

    def key(self, name: str) -> Key | None:
        return next((key for key in self if key == name and isinstance(key, Key)), None)

    def remove(self, name: str) -> None:
        self.removed[name] = self.pop(name, None)


class Items(list[object]):
    """A sequence, and the items of it that were reported and left out."""

    def __init__(self, node: Sequence) -> None:
        super().__init__(plain(item) for item in node.items)
        self.node = node
        self.removed: list[object] = []

    def remove_item(self, item: object) -> None:
        self[:] = [other for other in self if other is not item]
        self.removed.append(item)


def plain(node: Node) -> Block | Items | Scalar:
    if isinstance(node, Mapping):
        return Block(node)
    if isinstance(node, Sequence):
        return Items(node)
    return node


def node_of(value: object) -> Node:
    """The reverse, for values that are passed on unread."""
    if isinstance(value, Block | Items):
        return value.node
    assert isinstance(value, Scalar)
    return value


def empty_block(span: Span) -> Block:
    return Block(Mapping(span, ()))


def text_scalar(text: str, span: Span) -> Scalar:
    """Stands in for a value that is missing, so that the rest can be checked."""
    return Scalar(span, text, "str", True, lambda _: span)
