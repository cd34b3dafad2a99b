"""What buf made of the protos in an earlier run. Imports nothing that takes long to import."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sagagen.cache import Cache
from sagagen.diagnostics import Diagnostic

Digests = Mapping[str, str]
"""Path of a proto, relative to the project root -> digest of what it says."""

_KIND = "protos"


@dataclass(frozen=True, slots=True)
class Built:
    """Protos that compiled, and what they compiled to, with the buf and the dependencies that are installed now."""

    digests: Digests
    image: bytes
    """As `Sources.image`."""
    remarks: tuple[Diagnostic, ...]
    """Of the linter."""

    def changed(self, now: Digests) -> frozenset[str]:
        """The paths of protos that are new, say something else, or are gone."""
        differing = self.digests.items() ^ now.items()
        return frozenset(path for path, _ in differing)

    @classmethod
    def latest(cls, cache: Cache) -> Self | None:
        """What was kept last. It says itself of which protos it was made: what has changed since is compiled again."""
        kept = cache.get(cache.key(_KIND))
        if kept is None:
            return None
        said, _, image = kept.partition(b"\n")
        digests, remarks = json.loads(said)
        return cls(digests, image, tuple(map(Diagnostic.decoded, remarks)))

    def keep(self, cache: Cache) -> None:
        said = json.dumps([dict(self.digests), [one.encoded() for one in self.remarks]])
        cache.put(cache.key(_KIND), said.encode() + b"\n" + self.image)
