"""Ctrl-C on a terminal while a mesh still starts: one line at most, no children, and soon."""

import operator
import os
import signal
import sys
import time
from pathlib import Path

import pexpect
import pytest
from stack import REPOSITORY, Stack, heed_interrupts
from thorough import chosen
from waiting import LIMIT_S, eventually

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("after_s", chosen([0.2, 0.5, 1.7, 0.1, 0.3, 1.0], first=3))
def test_an_interrupted_start_ends_cleanly(after_s: float, tmp_path: Path) -> None:
    stack = Stack(tmp_path / "var")
    command = [sys.executable, "-m", "sagagen", "up", "--mesh", "--project", str(REPOSITORY)]
    environment = {**stack.environment("gateway"), "SAGAGEN_MARK": str(tmp_path)}
    mesh: pexpect.spawn[str] = pexpect.spawn(
        command[0],
        command[1:],
        env=environment,
        encoding="utf-8",
        timeout=LIMIT_S,
        preexec_fn=heed_interrupts,
    )
    time.sleep(after_s)
    mesh.sendintr()
    mesh.expect(pexpect.EOF)
    mesh.close()
    said = str(mesh.before)
    # Before a program of ours has control, Python itself may show where its own start was.
    assert "Traceback" not in said or "sagagen" not in said
    assert said.count("Aborted!") <= 1
    # Where Ctrl-C meets source that is exec'd (a dataclass in the making), CPython ends the process by SIGINT itself,
    # although the interrupt was caught: to a shell that is Ctrl-C as well.
    assert mesh.exitstatus in (0, 1) or mesh.signalstatus == signal.SIGINT
    eventually("every child to end", lambda: _alive(f"SAGAGEN_MARK={tmp_path}"), operator.not_)


def _alive(mark: str) -> list[str]:
    """Processes whose environment has this."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                found.append(process.name)
        except OSError:
            continue
    return found
