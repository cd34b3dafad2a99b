"""Which handler files were found in line with their contract, so that they need not be understood again.

Kept in the cache folder beside what `no_change` knows, by a digest of all that decides: the file, what the contract
asks of it, and the source of what compares the two. Deleting it costs one full run; `--check` does not ask it.
"""

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

from sagagen.emit.handler_contract import HandlerContract
from sagagen.emit.reuse import made_from
from sagagen.python_names import PyClass
from sagagen.workspace.no_change import CACHE, keep

_RECORD = "handlers.json"
_SOURCES = "handler_*.py", "source_text.py", "synced.py"
_WORD = re.compile(r"\w+")


def digests(contents: Mapping[str, bytes], contracts: Sequence[HandlerContract]) -> dict[str, str]:
    """Path -> digest of the file and all that decides what becomes of it, for each that is there."""
    folder = Path(__file__).parent
    sources = [path.read_bytes() for pattern in _SOURCES for path in sorted(folder.glob(pattern))]
    everyone = made_from(sys.version, version("libcst"), *sources)
    messages = {known: _Messages.of(known) for known in {contract.messages for contract in contracts}}
    return {
        one.path: made_from(
            everyone,
            content,
            _asked(one),
            *messages[one.messages].that_matter_to(content.decode(errors="replace")),
        )
        for one in contracts
        if (content := contents.get(one.path)) is not None
    }


@dataclass(frozen=True, slots=True)
class _Messages:
    """All classes of a contract, of which a file can only be concerned by those whose names it has."""

    modules: str
    """Digest of the modules that they are in."""
    by_name: Mapping[str, str]
    """Digest of the classes of a name: packages like to call theirs alike."""

    @classmethod
    def of(cls, classes: Iterable[PyClass]) -> "_Messages":
        modules: set[str] = set()
        by_name: defaultdict[str, list[str]] = defaultdict(list)
        for one in sorted(classes, key=str):
            modules.add(one.module)
            by_name[one.name].append(str(one))
        return cls(made_from(*sorted(modules)), {name: made_from(*ours) for name, ours in by_name.items()})

    def that_matter_to(self, text: str) -> Iterator[str]:
        yield self.modules
        for word in sorted(set(_WORD.findall(text)) & self.by_name.keys()):
            yield self.by_name[word]


def _asked(contract: HandlerContract) -> str:
    return str((contract.path, contract.implementation, contract.base, contract.methods))


def known(root: Path) -> frozenset[str]:
    """The digests that were remembered."""
    try:
        record = json.loads((root / CACHE / _RECORD).read_bytes())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(map(str, cast(list[object], record))) if isinstance(record, list) else frozenset()


def remember(root: Path, in_sync: Iterable[str]) -> None:
    """`in_sync`: the digests of the handler files that need nothing, as they are on disk now."""
    keep(root, _RECORD, (json.dumps(sorted(in_sync), indent=0) + "\n").encode())
