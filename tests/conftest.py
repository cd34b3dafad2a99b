"""What several folders of tests share: real stacks, and what must hold in the shop."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
from generator_tools import own_tools, shared_tools
from hypothesis import HealthCheck, settings
from project_copy import copy_project, edit, generate
from stack import Stack
from thorough import EXAMPLES, TRIES_MORE

# Tests start processes while gRPC receivers run in their own: gRPC's handlers would upset what is forked.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
# What tests start is read as bytecode: compiling is a quarter of what a start costs. This process writes
# none: a module that is generated anew within a second, and is as long as before, would be taken for that one.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = True
# No test is held to a time: how long an example takes says more of the machine, and of what it does for the first time
# in a fresh clone.
settings.register_profile(
    "untimed", max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")
if TRIES_MORE:  # twenty rounds take longer than what one round may hang
    os.environ.setdefault("PYTEST_TIMEOUT", "0")


LONGEST = (
    "tests/golden/test_golden.py",
    "tests/faults/test_chaos.py",
    "tests/delivery/test_moving_dinners.py",
    "tests/faults/test_shared_log.py",
    "tests/system/test_compose.py",
    "tests/released/test_released_logs.py",
    "tests/deploy/test_alerts_fire.py",
    "tests/delivery/test_delivery_orders.py",
    "tests/bench/test_bench_runs.py",
    "tests/compatibility/test_on_a_runner.py",
    "tests/scaffold/test_round_trip.py",
    "tests/compatibility/test_deployments.py",
    "tests/emit/test_generate_is_safe.py",
    "tests/deploy/test_panels.py",
    "tests/system/test_compose_of_a_new_project.py",
    "tests/bench/test_mutate.py",
    "tests/contract/test_rebuilding.py",
    "tests/engine/test_engine_crash.py",
    "tests/golden/test_any_contract.py",
    "tests/simulation/test_simulation.py",
)
"""Files that take longer than half a minute on a quiet machine. The order of the rest makes no difference."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that all workers end at the same time: a file is one worker's."""
    ranks = {file: rank for rank, file in enumerate(LONGEST)}

    def place(item: pytest.Item) -> tuple[int, bool]:
        file, is_slow = item.nodeid.partition("::")[0], item.get_closest_marker("slow") is not None
        return ranks.get(file, len(ranks)), not is_slow

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A task catches the exception that ends a test which hangs, and the test passes: it is named all the same."""
    report = yield
    limit_s = float(os.environ.get("PYTEST_TIMEOUT") or item.config.getini("timeout") or 0)
    # The limit counts what made the fixtures, too.
    if report.passed and 0 < 0.8 * limit_s <= call.duration:
        report.outcome = "failed"
        report.longrepr = f"it took {call.duration:.0f} s: something hung until the time-out, and caught that"
    return report


@pytest.fixture(scope="session", autouse=True)
def _tools_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """All workers know what one of them has had buf and the message compiler do."""
    own = tmp_path_factory.getbasetemp()
    with shared_tools((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "tools"):
        yield


@pytest.fixture
def tools_of_its_own() -> Iterator[None]:
    """buf and the message compiler are started as a user has them."""
    with own_tools():
        yield


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
