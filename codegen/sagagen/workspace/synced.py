"""What becomes of a handler file."""

from dataclasses import dataclass

from sagagen.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True)
class Synced:
    """A handler file as the contract wants it."""

    path: str
    content: bytes
    """What the file should say: the bytes that it has, if nothing is to be done or nothing can be."""
    added: tuple[str, ...]
    """Methods that are new in `content`."""
    followed: tuple[str, ...]
    """Methods whose types are called otherwise in `content`."""
    findings: tuple[Diagnostic, ...]

    @classmethod
    def untouched(cls, path: str, content: bytes) -> "Synced":
        """A file that needs nothing."""
        return cls(path, content, (), (), ())
