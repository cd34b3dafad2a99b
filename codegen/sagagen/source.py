"""Places in the user's files, and YAML values that know theirs."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A place in a file: path relative to the project root (forward slashes), line and column from 1."""

    path: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A YAML scalar: its text after YAML's own unquoting and folding, and where each character of it came from."""

    span: Span
    text: str
    tag: Literal["str", "int", "float", "bool", "null"]
    is_quoted: bool
    """Whether it is a quoted or a block scalar, whose tag is always `str`."""
    place: Callable[[int], Span] = field(compare=False, repr=False)
    """Finds the place of the character at an offset of `text`, or of its end; on demand, since few are needed."""

    def at(self, offset: int) -> Span:
        """The place in the file of the character at `offset` of `text` (of the end, if `offset` is beyond it)."""
        return self.place(min(offset, len(self.text)))


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key: value` of a mapping."""

    key: Scalar
    value: "Node"


@dataclass(frozen=True, slots=True)
class Mapping:
    """A YAML mapping, in the order of the file. Keys are unique: a repeated key is reported when reading."""

    span: Span
    entries: tuple[Entry, ...]

    def get(self, key: str) -> "Node | None":
        return next((entry.value for entry in self.entries if entry.key.text == key), None)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A YAML sequence."""

    span: Span
    items: tuple["Node", ...]


Node: TypeAlias = Scalar | Mapping | Sequence


def digest(node: Node | None) -> str:
    """Hex SHA-256 of a value's meaning: not of its place, comments, layout, or repetition by an alias."""
    said: list[str] = []
    _tell(node, said)
    return hashlib.sha256("".join(said).encode()).hexdigest()


def _tell(node: Node | None, said: list[str]) -> None:
    """Each value with its kind and its length, so that no two trees have the same text."""
    match node:
        case Scalar():
            text = node.text
            said += (node.tag, "q" if node.is_quoted else "p", str(len(text)), ":", text)
        case Mapping():
            said += ("map", str(len(node.entries)), ":")
            for entry in node.entries:
                _tell(entry.key, said)
                _tell(entry.value, said)
        case Sequence():
            said += ("seq", str(len(node.items)), ":")
            for item in node.items:
                _tell(item, said)
        case None:
            said.append("none:")
