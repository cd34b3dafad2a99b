"""A word at the terminal when what runs is not what the contract says: `sagagen up` generates nothing by itself."""

import asyncio
import importlib.util
import os
import sys
from contextlib import suppress
from pathlib import Path

import structlog

from sagagen.workspace.no_change import unchanged
from sagagen.workspace.snapshot import CONTRACTS, open_cache, snapshot

LOOK_S = 2.0
"""Time in seconds between two looks at the contract's files."""
_BEHIND = (
    "generated/ is behind the contract: run `sagagen generate` and start again, or use `sagagen up --watch`"
)
_MISTAKES = "the contract has mistakes: `sagagen check` shows them"
_GENTLY = 10
"""The generator's niceness: after the mesh, whenever that has something to do."""
_logger = structlog.stdlib.get_logger("sagagen.up")

Stamps = dict[str, tuple[int, int]]
"""Path -> time of the last change, and size."""


async def tell_when_behind(root: Path) -> None:
    """Say that generated/ is behind the contract, now or once that is edited. Runs until cancelled.

    What decides is a run of the generator in a process of its own, so this costs nothing where nothing has changed.
    """
    if importlib.util.find_spec("betterproto2_compiler") is None:
        return
    looked_at, said = Stamps(), ""
    while True:
        now = _stamps(root / CONTRACTS)
        if now != looked_at:
            looked_at = now
            problem = await _problem(root)
            if problem and problem != said:
                _logger.warning(problem)
            said = problem
        await asyncio.sleep(LOOK_S)


def _stamps(folder: Path) -> Stamps:
    found = Stamps()
    with suppress(OSError):  # it changes while it is looked at: the next look sees it whole
        for name, _, files in os.walk(folder):
            for file in files:
                path = os.path.join(name, file)
                status = os.stat(path)
                found[path] = status.st_mtime_ns, status.st_size
    return found


def _is_as_it_was_left(root: Path) -> bool:
    """Nothing has changed since the generator ran last."""
    now = snapshot(root)
    return unchanged(open_cache(root, now, writes=False), now) is not None


async def _problem(root: Path) -> str:
    """What is wrong; empty if nothing is, or nobody can say."""
    if await asyncio.to_thread(_is_as_it_was_left, root):
        return ""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sagagen", "generate", "--diff", "--project", str(root)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, _GENTLY)
    try:
        shown, complained = await process.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            process.kill()
        raise
    if b"nothing generated" in complained:
        return _MISTAKES
    return _BEHIND if b"generated/" in shown else ""
