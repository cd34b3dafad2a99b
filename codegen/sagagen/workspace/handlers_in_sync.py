"""Brings each handler file in line. Files that were found in line before need not be parsed again.

The cache remembers them by everything that matters: the file's content, and what the contract asks of it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sagagen.cache import Cache, digest_of
from sagagen.emit.handler_contract import HandlerContract
from sagagen.emit.message_shapes import EnumShape, MessageShape, Shape, Shapes
from sagagen.python_names import PyClass
from sagagen.workspace.renames import Renamed
from sagagen.workspace.synced import Synced

_WORD = re.compile(r"\w+")


def synced(
    contracts: Sequence[HandlerContract],
    before: Mapping[str, bytes],
    created: Mapping[str, bytes],
    cache: Cache,
    renamed: Renamed,
) -> tuple[Synced, ...]:
    """For existing files, whose contents are in `before`. `created`: files that a run will create, already in line."""
    keys = _keys(cache, {**created, **before}, contracts)
    for path in created.keys() & keys.keys():
        cache.put(keys[path], b"")
    return tuple(
        _synced(one, before[one.path], keys[one.path], cache, renamed)
        for one in contracts
        if one.path in before
    )


def _synced(contract: HandlerContract, content: bytes, key: str, cache: Cache, renamed: Renamed) -> Synced:
    if cache.get(key) is not None:
        return Synced.untouched(contract.path, content)
    from sagagen.workspace.handler_sync import sync_handler  # libcst is slow to import

    found = sync_handler(content, contract, renamed)
    if found == Synced.untouched(contract.path, content):
        cache.put(key, b"")
    return found


def _keys(
    cache: Cache, contents: Mapping[str, bytes], contracts: Sequence[HandlerContract]
) -> dict[str, str]:
    """The keys of the existing files, by path."""
    messages = {one.messages: _Messages.of(one) for one in contracts[:1]}  # all have the same
    return {
        one.path: cache.key(
            "handler in line",
            content,
            _asked(one),
            *messages[one.messages].that_matter_to(content.decode(errors="replace")),
        )
        for one in contracts
        if (content := contents.get(one.path)) is not None
    }


@dataclass(frozen=True, slots=True)
class _Messages:
    """All classes of a contract. A file depends on those whose names it contains, and on what they hold."""

    modules: str
    """Digest of the modules that they are in."""
    by_name: Mapping[str, Sequence[PyClass]]
    """All classes with that name: several packages often use the same one."""
    shapes: Shapes

    @classmethod
    def of(cls, contract: HandlerContract) -> "_Messages":
        by_name: defaultdict[str, list[PyClass]] = defaultdict(list)
        for one in sorted(contract.messages):
            by_name[one.name].append(one)
        return cls(digest_of(*sorted({one.module for one in contract.messages})), by_name, contract.shapes)

    def that_matter_to(self, text: str) -> Iterator[str]:
        yield self.modules
        named = set(_WORD.findall(text)) & self.by_name.keys()
        for one in sorted(self._with_held(one for name in named for one in self.by_name[name])):
            yield f"{one} {_told(self.shapes.get(one))}"

    def _with_held(self, classes: Iterable[PyClass]) -> set[PyClass]:
        """These, the messages in their fields, and so on."""
        found = set(classes)
        waiting = list(found)
        while waiting:
            held = _held_by(self.shapes.get(waiting.pop())) - found
            found |= held
            waiting += held
        return found


def _held_by(shape: Shape | None) -> set[PyClass]:
    fields = shape.fields.values() if isinstance(shape, MessageShape) else ()
    return {holds.message for holds in fields if holds is not None}


def _told(shape: Shape | None) -> str:
    if isinstance(shape, EnumShape):
        return str(sorted(shape.members))
    return str(sorted((name, str(holds)) for name, holds in shape.fields.items())) if shape else ""


def _asked(contract: HandlerContract) -> str:
    return str((contract.path, contract.implementation, contract.base, contract.methods))
