"""Which handler files were found in line with their contract, so that they need not be understood again.

Kept in the cache folder beside what `no_change` knows, by a digest of all that decides: the file, what the contract
asks of it, and the source of what compares the two. Deleting it costs one full run; `--check` does not ask it.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import cast

from sagagen.emit.handler_contract import HandlerContract
from sagagen.emit.reuse import made_from
from sagagen.workspace.no_change import CACHE, cache_folder

_RECORD = "handlers.json"
_SOURCES = "handler_*.py", "source_text.py", "synced.py"


def digests(contents: Mapping[str, bytes], contracts: Sequence[HandlerContract]) -> dict[str, str]:
    """Path -> digest of the file and all that decides what becomes of it, for each that is there."""
    folder = Path(__file__).parent
    sources = [path.read_bytes() for pattern in _SOURCES for path in sorted(folder.glob(pattern))]
    everyone = made_from(sys.version, version("libcst"), *sources)
    # The same set in each of them, and by far the largest part.
    messages = {contract.messages: "" for contract in contracts}
    for classes in messages:
        messages[classes] = made_from(*sorted(str(one) for one in classes))
    return {
        one.path: made_from(everyone, contents[one.path], _asked(one), messages[one.messages])
        for one in contracts
        if one.path in contents
    }


def _asked(contract: HandlerContract) -> str:
    return str((contract.path, contract.implementation, contract.base, contract.methods))


def known(root: Path) -> frozenset[str]:
    """The digests that were remembered."""
    try:
        record = json.loads((root / CACHE / _RECORD).read_bytes())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(map(str, cast(list[object], record))) if isinstance(record, list) else frozenset()


def remember(root: Path, contents: Mapping[str, bytes], contracts: Sequence[HandlerContract]) -> None:
    """`contents`: the handler files that need nothing, as they are on disk now."""
    record = sorted(digests(contents, contracts).values())
    folder = cache_folder(root)
    temporary = folder / f"{_RECORD}.{os.getpid()}"
    temporary.write_text(json.dumps(record, indent=0) + "\n", "utf-8")
    os.replace(temporary, folder / _RECORD)
