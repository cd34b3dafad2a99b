"""saga.yaml with something added to it: proven to say what it said before, plus the addition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sagagen.contract.document import read_document
from sagagen.contract.loading import SAGA_YAML
from sagagen.diagnostics import Diagnostic
from sagagen.editing.text import CannotAdd
from sagagen.editing.yaml_insert import Insertion, Value
from sagagen.editing.yaml_tree import Pair, Place, read_tree
from sagagen.source import Mapping as MappingNode
from sagagen.source import Node, Scalar
from sagagen.workspace.source_text import Edit, SourceText

Plain: TypeAlias = "str | dict[str, Plain] | list[Plain]"
Path: TypeAlias = tuple[str | int, ...]
"""Keys of mappings, and indices of lists."""


@dataclass(frozen=True, slots=True)
class SagaYaml:
    """The file as it stands."""

    source: SourceText
    document: MappingNode
    root: Place

    @staticmethod
    def read(source: SourceText) -> "SagaYaml":
        """Raises CannotAdd if it is not YAML that can be added to."""
        document = _document(source.text)
        root = read_tree(source)
        assert root is not None
        return SagaYaml(source, document, root)

    def with_entry(
        self, path: Path, key: str, value: Mapping[str, Value], *, spaced: bool = False, levels: int = 1
    ) -> SourceText:
        """With `key: value` in the mapping at `path`, as its last entry."""
        owners = self._owners(path)
        if len(owners) < len(path):
            *above, missing = path
            return self.with_entry(tuple(above), str(missing), {key: value}, spaced=spaced, levels=levels + 1)
        edits = Insertion(self.source, self.root, owners).entry(key, value, spaced=spaced, levels=levels)
        return self._proven(edits, path, key, value)

    def with_item(
        self, path: Path, value: Mapping[str, Value], after: int | None = None, *, levels: int = 1
    ) -> SourceText:
        """With an item in the list at `path`, behind the one of that index, or as the last one."""
        owners = self._owners(path)
        if len(owners) < len([part for part in path if isinstance(part, str)]):
            raise CannotAdd(f"{SAGA_YAML} has no list at {_dotted(path)}: write {path[-1]}: [] there first")
        edits = Insertion(self.source, self.root, owners).item(value, after, levels=levels)
        return self._proven(edits, path, after, value)

    def _owners(self, path: Path) -> tuple[Pair, ...]:
        owners: list[Pair] = []
        at = self.root
        for key in path:
            if isinstance(key, int):
                at = at.items[key]
                continue
            pair = at.pair(key)
            if pair is None:
                break
            owners.append(pair)
            at = pair.value
        return tuple(owners)

    def _proven(self, edits: list[Edit], path: Path, key: str | int | None, value: Value) -> SourceText:
        written = self.source.spliced(edits)
        meant = _plain(self.document)
        _add(meant, path, key, _copy(value))
        try:
            said = _plain(_document(written.text))
        except CannotAdd:
            said = ""
        if said != meant:
            raise CannotAdd(
                f"{SAGA_YAML} is written in a way that allows no addition at {_dotted(path)}: add it by hand"
            )
        return written


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def _document(text: str) -> MappingNode:
    found: list[Diagnostic] = []
    document = read_document(SAGA_YAML, text, found.append)
    if document is None or found:
        raise CannotAdd(f"{found[0].at}: {found[0].message}; fix that first: {found[0].hint}")
    return document


def _plain(node: Node) -> Plain:
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, MappingNode):
        return {entry.key.text: _plain(entry.value) for entry in node}
    return [_plain(item) for item in node.items]


def _copy(value: Value) -> Plain:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value]


def _add(plain: Plain, path: Sequence[str | int], key: str | int | None, value: Plain) -> None:
    """The same addition to the values alone; an empty text counts as an empty mapping or list."""
    if path and isinstance(plain, list) and isinstance(path[0], int):
        _add(plain[path[0]], path[1:], key, value)
    elif path and isinstance(plain, dict):
        at = str(path[0])
        inner = plain.get(at) or ({} if isinstance(key, str) else [])
        plain[at] = inner
        _add(inner, path[1:], key, value)
    elif isinstance(plain, dict) and isinstance(key, str):
        plain[key] = value
    elif isinstance(plain, list):
        plain.insert(len(plain) if not isinstance(key, int) else key + 1, value)
