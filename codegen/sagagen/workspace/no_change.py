"""Whether anything at all has changed since a run that left nothing to do: then there is nothing to do now.

`--check` does not ask it. Nothing is imported here that takes long to import, so that `sagagen generate` can answer at
once.
"""

import json
from collections.abc import Iterable

from sagagen.cache import Cache
from sagagen.diagnostics import Diagnostic
from sagagen.workspace.snapshot import Snapshot, state

_KIND = "nothing to do"


def unchanged(cache: Cache, now: Snapshot) -> tuple[Diagnostic, ...] | None:
    """The warnings of the run that left all as it is `now`; None if there was none."""
    warnings = cache.get(cache.key(_KIND, state(now)))
    return None if warnings is None else tuple(map(Diagnostic.decoded, json.loads(warnings)))


def remember(cache: Cache, left: Snapshot, warnings: Iterable[Diagnostic]) -> None:
    """To be called where a run has left nothing to do. `warnings`: those that it printed."""
    cache.put(cache.key(_KIND, state(left)), json.dumps([one.encoded() for one in warnings]).encode())
