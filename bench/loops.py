#!/usr/bin/env python
"""Count the instructions of a call in a loop: `python bench/loops.py [--short N] [--long N] [--calls N]`.

Runs sagas that loop over few items, and sagas that loop over many, under valgrind's callgrind: first sagas that
complete, then sagas that are undone. Prints a line of JSON for each of the two: millions
of instructions a call, without what a saga with an empty list takes, and how the long loop compares with the short one.
A call of a saga that is undone is one and its compensation. Exits with 1 if a ratio is above `--ceiling`.
"""

import argparse
import asyncio
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import trees
from load import REFUSED_S, connected, is_accepted
from measuring import Figures, tell
from processes import Processes

START_WITHIN_S = 300.0
WITHIN_S = 900.0
WARM_UP = 3
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)
_OPEN = "SELECT count(*) FROM saga WHERE status IN ('RUNNING', 'COMPENSATING')"
_STATUSES = "SELECT DISTINCT status FROM saga WHERE idempotency_key LIKE ?"


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the instructions of a call in a loop.")
    parser.add_argument("--short", type=int, default=10, metavar="N", help="items of a short loop")
    parser.add_argument("--long", type=int, default=1000, metavar="N", help="items of a long loop")
    parser.add_argument("--calls", type=int, default=200, metavar="N", help="calls of either kind, at least")
    parser.add_argument("--ceiling", type=float, default=1.3, metavar="X", help="what the ratio may be")
    given = parser.parse_args()
    if not shutil.which("callgrind_control"):
        sys.exit("it needs valgrind with its callgrind_control on PATH")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, _counted(Path(folder)) as stack:
        ratios = [_told(stack, given, is_undone=is_undone) for is_undone in (False, True)]
    sys.exit(1 if max(ratios) > given.ceiling else 0)


def _told(stack: "_Counted", given: argparse.Namespace, *, is_undone: bool) -> float:
    """Measure and tell, of sagas that complete or of those that are undone. Returns the ratio."""

    def a_call(items: int) -> float:
        count = max(1, given.calls // items)
        empty = stack.instructions(count, 0, is_undone=is_undone)
        return (stack.instructions(count, items, is_undone=is_undone) - empty) / (count * items)

    for items in (0, given.short):
        stack.instructions(WARM_UP, items, is_undone=is_undone)
    short, long = a_call(given.short), a_call(given.long)
    figures: Figures = {
        "sagas": "undone" if is_undone else "completed",
        "short": given.short,
        "long": given.long,
        "million_instructions_a_call_short": round(short / 1e6, 3),
        "million_instructions_a_call_long": round(long / 1e6, 3),
        "ratio": round(long / short, 2),
    }
    tell(figures)
    return long / short


class _Counted:
    """The stack under callgrind."""

    def __init__(self, processes: Processes, stack: trees.Trees, counts: Path) -> None:
        self._processes = processes
        self._stack = stack
        self._counts = counts
        self._runs = 0

    def instructions(self, count: int, items: int, *, is_undone: bool) -> int:
        """Run so many sagas, one after the other, with so many items each."""
        self._runs += 1
        run = f"run-{self._runs}"
        self._tell("--zero")
        asyncio.run(self._run(run, count, {"items": _items(items), "declined": is_undone}))
        self._tell("--dump")
        end = "COMPENSATED" if is_undone else "COMPLETED"
        with closing(sqlite3.connect(self._stack.log)) as log:
            found = log.execute(_STATUSES, (f"{run}-%",)).fetchall()
        assert found == [(end,)], f"{run}: {found}"
        dumps = sorted(self._counts.iterdir(), key=lambda dump: dump.stat().st_mtime)
        total = _TOTAL.search(dumps[-1].read_text(errors="replace"))
        assert total, "callgrind wrote no total"
        return int(total[1])

    async def _run(self, run: str, count: int, body: dict[str, object]) -> None:
        async with connected(self._stack.port) as (reader, writer):
            for number in range(count):
                request = trees.post("/gathered", f"{run}-{number}", body)
                writer.write(request)
                while not await is_accepted(reader):
                    await asyncio.sleep(REFUSED_S)
                    writer.write(request)
                await self._over()

    async def _over(self) -> None:
        give_up_at = time.monotonic() + WITHIN_S
        with closing(sqlite3.connect(f"file:{self._stack.log}?mode=ro", uri=True, timeout=60)) as log:
            while log.execute(_OPEN).fetchone()[0]:
                if time.monotonic() > give_up_at:
                    raise TimeoutError(f"a saga was still running after {WITHIN_S} s")
                await asyncio.sleep(0.05)

    def _tell(self, what: str) -> None:
        for pid in self._processes.pids:
            subprocess.run(["callgrind_control", what, str(pid)], check=True, capture_output=True)


@contextmanager
def _counted(folder: Path) -> Generator[_Counted]:
    counts, data, root = folder / "counts", folder / "data", folder / "tree"
    counts.mkdir()
    data.mkdir()
    trees.generate(root)
    under = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}/%p"]
    processes = Processes(folder / "output.log", start_within_s=START_WITHIN_S)
    try:
        # Sets of strings have one order then, so that runs compare.
        stack = trees.start(processes, root, data, environment={"PYTHONHASHSEED": "0"}, under=under)
        yield _Counted(processes, stack, counts)
    finally:
        processes.stop()


def _items(count: int) -> list[str]:
    return [f"item-{number:04}" for number in range(count)]


if __name__ == "__main__":
    main()
