"""What several folders of tests share: real stacks, and what must hold in the shop."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from stack import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """The shop, nothing started yet."""
    stack = Stack(tmp_path / "var")
    try:
        yield stack
    finally:
        stack.close()
