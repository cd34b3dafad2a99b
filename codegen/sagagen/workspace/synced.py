"""The result of bringing a handler file in line."""

from dataclasses import dataclass

from sagagen.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True)
class Synced:
    """A handler file as the contract wants it."""

    path: str
    content: bytes
    """What the file should contain: its present bytes, if nothing needs to be done or nothing can be done."""
    added: tuple[str, ...]
    """Methods that are new in `content`."""
    followed: tuple[str, ...]
    """Methods whose types have new names in `content`."""
    findings: tuple[Diagnostic, ...]

    @classmethod
    def untouched(cls, path: str, content: bytes) -> "Synced":
        """A file that needs nothing."""
        return cls(path, content, (), (), ())
