"""What the last run made, so that this one makes only what would come out differently."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

TOOLS = ("betterproto2_compiler", "grafana_foundation_sdk", "ruff")
"""Whose version decides what comes out of the same input."""


def tools() -> dict[str, str]:
    return {name: version(name) for name in TOOLS}


def made_from(*parts: str | bytes) -> str:
    """Hex SHA-256 of what decides a file's content; the parts cannot run into one another."""
    hashed = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        hashed.update(len(content).to_bytes(8))
        hashed.update(content)
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class Earlier:
    """Files of the last run that are on disk as it wrote them, made by the tools that are installed now."""

    files: Mapping[str, tuple[str, bytes]] = field(default_factory=dict[str, tuple[str, bytes]])
    """Path -> what it was made from, and its content."""
    rendered: Mapping[str, tuple[str, bytes]] = field(default_factory=dict[str, tuple[str, bytes]])
    """Path -> of which parts of the contract it was made, and its content; by this very generator, on this machine."""

    def unchanged(self, path: str, parts: str) -> bytes | None:
        """What the file said, if those parts of the contract are as they were."""
        known, content = self.rendered.get(path, ("", b""))
        # The manifest has to say the same of it as before.
        is_known = known == parts and (path in self.files or not path.endswith(".py"))
        return content if is_known else None

    def content(self, path: str, inputs: str) -> bytes | None:
        """What the file said, if it was made from the same."""
        known, content = self.files.get(path, ("", b""))
        return content if known == inputs else None


NOTHING = Earlier()
