"""A process ends within its grace period whatever hangs in it (P12), and says where it hung."""

import shutil
import signal
from pathlib import Path

import pytest
from stack import Stack

ROOT = Path(__file__).parents[2]
HANG = """
import threading
threading.Thread(target=threading.Event().wait, name="hangs").start()
"""


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["up", "mesh"])
def test_a_thread_that_hangs_does_not_hold_a_process(tmp_path: Path, topology: str) -> None:
    """Python waits for its threads when it ends: with nothing else, for ever."""
    root = tmp_path / "shop"
    for folder in ("contracts", "generated", "handlers", "gateway"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (root / "gateway" / "app.py", *(root / "handlers").glob("*.py")):
        file.write_text(file.read_text() + HANG)
    stack = Stack(tmp_path / "var", root=root)
    try:
        stack.start(topology)
        process = stack.processes.pop(topology)
        process.send_signal(signal.SIGTERM)
        exit_code = process.wait(timeout=120)
        said = stack.log_path.read_text()
        assert exit_code == (1 if topology == "up" else 0), said
        assert "Timeout (0:00:11)!" in said
        assert "in wait" in said
        assert "killing it" not in said, "each child ends by itself, before its parent has to"
    finally:
        stack.close()
