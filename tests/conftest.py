"""What several folders of tests share: real stacks, and what must hold in the shop."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from stack import Stack

# No test is held to a time: how long an example takes says more of the machine, and of what it does for the first time
# in a fresh clone.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """The shop, nothing started yet."""
    stack = Stack(tmp_path / "var")
    try:
        yield stack
    finally:
        stack.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own that is soon full."""
    folder = tmp_path / "var"
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
