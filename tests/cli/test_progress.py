"""What is being done is told on a terminal, and nowhere else."""

import os
import sys
from pathlib import Path

import pexpect
import pytest
from waiting import LIMIT_S

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(("ci", "is_told"), [("", True), ("true", False)])
def test_progress_is_for_a_terminal_that_somebody_watches(ci: str, is_told: bool) -> None:
    run: pexpect.spawn[str] = pexpect.spawn(
        sys.executable,
        ["-m", "sagagen", "generate", "--check"],
        cwd=REPOSITORY,
        env={**os.environ, "CI": ci, "TERM": "xterm"},  # pyright: ignore[reportArgumentType]
        encoding="utf-8",
        timeout=LIMIT_S,
    )
    run.expect(pexpect.EOF)
    assert run.before is not None
    assert "the mesh on disk is what the contract emits" in run.before
    assert ("making the files of shop ..." in run.before) is is_told
