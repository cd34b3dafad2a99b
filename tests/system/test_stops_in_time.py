"""A process ends within its grace period whatever hangs in it (P12), and says where it hung."""

import signal
from contextlib import closing
from pathlib import Path

import pytest
from project_copy import WRITTEN, copy_project
from stack import Stack
from thorough import chosen
from waiting import LIMIT_S

HANG = """
import threading
threading.Thread(target=threading.Event().wait, name="hangs").start()
"""


@pytest.mark.slow
@pytest.mark.parametrize("topology", chosen(["mesh", "up"], first=1))
def test_a_thread_that_hangs_does_not_hold_a_process(tmp_path: Path, topology: str) -> None:
    """Python waits for its threads when it ends: with nothing else, for ever."""
    root = copy_project("shop", tmp_path / "shop", (*WRITTEN, "generated"))
    for file in (root / "gateway" / "app.py", *(root / "handlers").glob("*.py")):
        file.write_text(file.read_text() + HANG)
    with closing(Stack(tmp_path / "var", root=root)) as stack:
        stack.start(topology)
        process = stack.processes.pop(topology)
        process.send_signal(signal.SIGTERM)
        exit_code = process.wait(timeout=LIMIT_S)
        said = stack.log_path.read_text()
        assert exit_code == (1 if topology == "up" else 0), said
        assert "Timeout (0:00:11)!" in said
        assert "in wait" in said
        assert "killing it" not in said, "each child ends by itself, before its parent has to"
