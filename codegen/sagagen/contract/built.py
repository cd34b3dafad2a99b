"""What buf made of the protos in an earlier run. Has no slow imports."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sagagen.cache import Cache
from sagagen.diagnostics import Diagnostic

Digests = Mapping[str, str]
"""Path of a proto, relative to the project root -> digest of its content."""

_KIND = "protos"


@dataclass(frozen=True, slots=True)
class Built:
    """Protos that compiled, and what they compiled to, with the installed buf and dependencies."""

    digests: Digests
    image: bytes
    """As `Sources.image`."""
    remarks: tuple[Diagnostic, ...]
    """The linter's findings."""

    def changed(self, now: Digests) -> frozenset[str]:
        """The paths of protos that are new, changed, or gone."""
        differing = self.digests.items() ^ now.items()
        return frozenset(path for path, _ in differing)

    @classmethod
    def latest(cls, cache: Cache) -> Self | None:
        """The result that was kept last. It names the protos it was made from: only changed ones are compiled again."""
        kept = cache.get(cache.key(_KIND))
        if kept is None:
            return None
        said, _, image = kept.partition(b"\n")
        digests, remarks = json.loads(said)
        return cls(digests, image, tuple(map(Diagnostic.decoded, remarks)))

    def keep(self, cache: Cache) -> None:
        said = json.dumps([dict(self.digests), [one.encoded() for one in self.remarks]])
        cache.put(cache.key(_KIND), said.encode() + b"\n" + self.image)
