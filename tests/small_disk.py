"""A disk that is full, for tests that need one."""

from contextlib import suppress
from pathlib import Path


def fill(path: Path) -> None:
    """Write a file until nothing more fits beside it; removing it frees the disk."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
