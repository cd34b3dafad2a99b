"""The projects of tests/projects, generated once for all tests that only read them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from generating import PROJECTS, run_generate


@pytest.fixture(scope="session")
def generated_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A copy of a project by its name, generated; do not change what is in it."""
    roots: dict[str, Path] = {}

    def generated(name: str) -> Path:
        if name not in roots:
            root = tmp_path_factory.mktemp(name) / name
            shutil.copytree(PROJECTS / name, root)
            result = run_generate(root)
            assert result.exit_code == 0, result.output
            roots[name] = root
        return roots[name]

    return generated


@pytest.fixture
def tiny(generated_project: Callable[[str], Path], tmp_path: Path) -> Path:
    """The tiny project, generated, in a folder that the test may change."""
    return Path(shutil.copytree(generated_project("tiny"), tmp_path / "tiny"))
