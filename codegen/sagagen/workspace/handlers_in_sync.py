"""Brings each handler file in line. Files that were found in line before need not be parsed again.

The cache remembers them by everything that matters: the file's content, and what the contract asks of it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sagagen.cache import Cache, digest_of
from sagagen.emit.handler_contract import HandlerContract
from sagagen.python_names import PyClass
from sagagen.workspace.synced import Synced

_WORD = re.compile(r"\w+")


def synced(
    contracts: Sequence[HandlerContract],
    before: Mapping[str, bytes],
    created: Mapping[str, bytes],
    cache: Cache,
) -> tuple[Synced, ...]:
    """For existing files, whose contents are in `before`. `created`: files that a run will create, already in line."""
    keys = _keys(cache, {**created, **before}, contracts)
    for path in created.keys() & keys.keys():
        cache.put(keys[path], b"")
    return tuple(
        _synced(one, before[one.path], keys[one.path], cache) for one in contracts if one.path in before
    )


def _synced(contract: HandlerContract, content: bytes, key: str, cache: Cache) -> Synced:
    if cache.get(key) is not None:
        return Synced.untouched(contract.path, content)
    from sagagen.workspace.handler_sync import sync_handler  # libcst is slow to import

    found = sync_handler(content, contract)
    if found == Synced.untouched(contract.path, content):
        cache.put(key, b"")
    return found


def _keys(
    cache: Cache, contents: Mapping[str, bytes], contracts: Sequence[HandlerContract]
) -> dict[str, str]:
    """The keys of the existing files, by path."""
    messages = {known: _Messages.of(known) for known in {contract.messages for contract in contracts}}
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
    """All classes of a contract. A file depends only on those whose names it contains."""

    modules: str
    """Digest of the modules that they are in."""
    by_name: Mapping[str, str]
    """Digest of all classes with that name: several packages often use the same one."""

    @classmethod
    def of(cls, classes: Iterable[PyClass]) -> "_Messages":
        modules: set[str] = set()
        by_name: defaultdict[str, list[str]] = defaultdict(list)
        for one in sorted(classes, key=str):
            modules.add(one.module)
            by_name[one.name].append(str(one))
        return cls(digest_of(*sorted(modules)), {name: digest_of(*ours) for name, ours in by_name.items()})

    def that_matter_to(self, text: str) -> Iterator[str]:
        yield self.modules
        for word in sorted(set(_WORD.findall(text)) & self.by_name.keys()):
            yield self.by_name[word]


def _asked(contract: HandlerContract) -> str:
    return str((contract.path, contract.implementation, contract.base, contract.methods))
