"""Whether nothing has changed since a run that left nothing to do: then there is still nothing to do.

`--check` does not use it. This module has no slow imports, so that `sagagen generate` can answer at
once.
"""

import json
from collections.abc import Iterable

from sagagen.cache import Cache
from sagagen.diagnostics import Diagnostic
from sagagen.workspace.snapshot import Snapshot, state

_KIND = "nothing to do"


def unchanged(cache: Cache, now: Snapshot) -> tuple[Diagnostic, ...] | None:
    """The warnings of the run that left everything as it is `now`; None if there was no such run."""
    warnings = cache.get(cache.key(_KIND, state(now)))
    return None if warnings is None else tuple(map(Diagnostic.decoded, json.loads(warnings)))


def remember(cache: Cache, left: Snapshot, warnings: Iterable[Diagnostic]) -> None:
    """Call it when a run has left nothing to do. `warnings`: those that the run printed."""
    cache.put(cache.key(_KIND, state(left)), json.dumps([one.encoded() for one in warnings]).encode())
