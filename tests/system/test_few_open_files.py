"""A limit of open files that is too low stops the start with a sentence; a low soft limit is raised."""

import os
import resource
import subprocess
import sys

import pytest
from waiting import LIMIT_S

pytestmark = pytest.mark.slow

ALLOWED = """
import resource
from sagagen.runtime.process.open_files import allow_open_files
allow_open_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def with_limits(soft: int, hard: int, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "SAGAGEN_LOG_FORMAT": "json"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_a_start_with_too_few_says_what_to_raise() -> None:
    run = with_limits(32, 32, "-m", "sagagen", "up")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1), run.stderr
    assert "may open 32 files at once" in run.stderr
    assert "ulimit -n" in run.stderr


def test_what_the_system_allows_is_taken() -> None:
    run = with_limits(64, 1024, "-c", ALLOWED)
    assert (run.returncode, run.stdout) == (0, "1024\n"), run.stderr
