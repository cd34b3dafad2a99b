#!/usr/bin/env python
"""Measure recovery: `python bench/recovery.py [--mesh] [--sagas N]`.

Holds N sagas at their third step, by a lock on the payment service's database; kills every process with -9; starts the
stack again; prints one line of JSON: how long after the start command the stack listened, and the last saga was over.
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import sagas
from load import Plan, Target, post_all
from measuring import Figures, tell
from processes import Processes

WITHIN_S = 120.0

_OPEN = "SELECT count(*) FROM saga WHERE status IN ('RUNNING', 'COMPENSATING')"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure recovery after kill -9 of every process.")
    parser.add_argument("--mesh", action="store_true", help="one process for each service, over gRPC")
    parser.add_argument("--sagas", type=int, default=200, metavar="N", help="how many are under way")
    parser.add_argument("--data", type=Path, help="folder for the data, on a real disk")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.data) as folder:
        tell(_measured(given, Path(folder)))


def _measured(given: argparse.Namespace, data: Path) -> Figures:
    processes = Processes(data / "output.log")
    start = sagas.starter(is_mesh=given.mesh)
    try:
        target = start(processes, data)
        with closing(sqlite3.connect(data / "payment.db", timeout=30, isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            asyncio.run(post_all(target, Plan(given.sagas, given.sagas, 0.1, False, "held")))
            held = _unfinished(target)
            processes.kill()
        began = time.perf_counter()
        target = start(processes, data)
        listening_s = time.perf_counter() - began
        while _unfinished(target):
            if time.perf_counter() - began > WITHIN_S:
                raise TimeoutError(f"{_unfinished(target)} sagas are not over after {WITHIN_S} s")
            time.sleep(0.005)
        over_s = time.perf_counter() - began
    finally:
        processes.stop()
    return {
        "stack": "mesh" if given.mesh else "embedded",
        "under_way_at_the_kill": held,
        "listening_after_s": round(listening_s, 2),
        "all_over_after_s": round(over_s, 2),
    }


def _unfinished(target: Target) -> int:
    with closing(sqlite3.connect(f"file:{target.log}?mode=ro", uri=True, timeout=10)) as log:
        return log.execute(_OPEN).fetchone()[0]


if __name__ == "__main__":
    main()
