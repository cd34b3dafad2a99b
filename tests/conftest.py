"""What several folders of tests share: real stacks, and what must hold in the shop."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from project_copy import copy_project, edit, generate
from stack import Stack

# Tests start processes while gRPC receivers run in their own: gRPC's handlers would upset what is forked.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
# No test is held to a time: how long an example takes says more of the machine, and of what it does for the first time
# in a fresh clone.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that two workers end at the same time."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """The shop, nothing started yet."""
    with closing(Stack(tmp_path / "var")) as stack:
        yield stack


@pytest.fixture(scope="session")
def patient_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copy_project("shop", tmp_path_factory.mktemp("patient") / "shop")
    edit(root / "contracts" / "saga.yaml", {"deadline: 60s": "deadline: 15m"})
    return generate(root)


@pytest.fixture(scope="session")
def generated_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A copy of a project by its name, generated; do not change what is in it."""

    @cache
    def generated(name: str) -> Path:
        return generate(copy_project(name, tmp_path_factory.mktemp(name) / name))

    return generated


@pytest.fixture
def patient_shop(patient_root: Path, tmp_path: Path) -> Iterator[Stack]:
    """The shop, nothing started yet, whose orders never turn back because a busy machine is slow."""
    with closing(Stack(tmp_path / "var", root=patient_root)) as stack:
        yield stack


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own that is soon full."""
    folder = tmp_path / "var"
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", str(folder)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
