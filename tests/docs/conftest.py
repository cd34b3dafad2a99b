"""Mermaid, which draws the diagrams of generated/docs."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

MERMAID = ("mermaid@11.17.2", "jsdom@29.1.1")


@pytest.fixture(scope="session")
def mermaid(request: pytest.FixtureRequest) -> Path:
    """A folder with mermaid and a DOM for it, kept from one run to the next."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("Mermaid's parser runs on node, which is not installed")
    assert request.config.cache is not None
    folder = Path(request.config.cache.mkdir("mermaid"))
    with (folder / "lock").open("w") as lock:  # all workers have this folder
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(folder)
    return folder


def _install(folder: Path) -> None:
    installed = folder / "node_modules" / "mermaid" / "package.json"
    if not installed.exists() or f'"version": "{MERMAID[0].partition("@")[2]}"' not in installed.read_text():
        command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run([*command, *MERMAID], capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            pytest.skip(f"Mermaid can't be installed here: {done.stderr[-200:]}")
