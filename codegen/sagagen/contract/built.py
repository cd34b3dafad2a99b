"""What buf made of the protos in an earlier run. Imports nothing that takes long to import."""

from collections.abc import Mapping
from dataclasses import dataclass

from sagagen.diagnostics import Diagnostic

Digests = Mapping[str, str]
"""Path of a proto, relative to the project root -> digest of what it says."""


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
