"""A project that a test may change."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def tiny(generated_project: Callable[[str], Path], tmp_path: Path) -> Path:
    """The tiny project, generated, in a folder that the test may change."""
    return Path(shutil.copytree(generated_project("tiny"), tmp_path / "tiny"))
