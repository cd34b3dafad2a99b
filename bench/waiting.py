#!/usr/bin/env python
"""Measure sagas that wait for an event: `python bench/waiting.py [--sagas N] [--rest SECONDS] [--events N]`.

Starts N sagas that wait, in one process, and prints one line of JSON: the memory of each, the CPU of all while nothing
happens, how long after kill -9 and a start the process listens and is ready, with what memory, and how long after an
event was sent the next call of its saga was in the service's handler.
"""

import argparse
import asyncio
import http.client
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import trees
from load import REFUSED_S, connected, is_accepted, percentile
from measuring import Figures, tell
from processes import Processes

WITHIN_S = 600.0
AT_ONCE = 16
SETTLED_S = 5.0
"""Time in which a process comes to rest after the last saga was accepted, or after it is ready."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure sagas that wait for an event.")
    parser.add_argument("--sagas", type=int, default=100_000, metavar="N", help="how many wait")
    parser.add_argument(
        "--rest", type=float, default=20.0, metavar="S", help="seconds of rest that are measured"
    )
    parser.add_argument(
        "--events", type=int, default=200, metavar="N", help="how many are sent, one at a time"
    )
    parser.add_argument("--data", type=Path, help="folder for the data, on a real disk")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.data) as folder:
        tell(_measured(given, Path(folder)))


def _measured(given: argparse.Namespace, folder: Path) -> Figures:
    root, data = folder / "tree", folder / "data"
    data.mkdir()
    trees.generate(root)
    processes = Processes(folder / "output.log", start_within_s=WITHIN_S)
    try:
        stack = trees.start(processes, root, data)
        empty_mib = processes.rss_mib()
        asyncio.run(_start_all(stack, given.sagas))
        time.sleep(SETTLED_S)
        full_mib, cpu_at_rest = processes.rss_mib(), _cpu_share(processes, given.rest)
        processes.kill()
        began = time.perf_counter()
        stack = trees.start(processes, root, data)
        listening_s = time.perf_counter() - began
        _await_ready(stack)
        ready_s = time.perf_counter() - began
        time.sleep(SETTLED_S)
        restarted_mib, cpu_after_start = processes.rss_mib(), _cpu_share(processes, given.rest)
        reached_ms = list(_tell_some(stack, given.events))
    finally:
        processes.stop()
    return {
        "waiting": given.sagas,
        "empty_mib": round(empty_mib, 1),
        "full_mib": round(full_mib, 1),
        "kib_a_saga": round((full_mib - empty_mib) * 1024 / given.sagas, 2),
        "cpu_at_rest": round(cpu_at_rest, 4),
        "listening_after_s": round(listening_s, 2),
        "ready_after_s": round(ready_s, 2),
        "restarted_mib": round(restarted_mib, 1),
        "cpu_at_rest_after_start": round(cpu_after_start, 4),
        "event_to_call_p50_ms": round(percentile(reached_ms, 0.5), 1),
        "event_to_call_p99_ms": round(percentile(reached_ms, 0.99), 1),
    }


async def _start_all(stack: trees.Trees, count: int) -> None:
    keys = iter(range(count))

    async def some() -> None:
        async with connected(stack.port) as (reader, writer):
            for key in keys:
                request = trees.post("/listeners", f"listener-{key}", {})
                writer.write(request)
                while not await is_accepted(reader):
                    await asyncio.sleep(REFUSED_S)
                    writer.write(request)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


def _cpu_share(processes: Processes, seconds: float) -> float:
    """CPU that is used while nothing happens, in cores."""
    before_s = processes.exact_cpu_s()
    time.sleep(seconds)
    return (processes.exact_cpu_s() - before_s) / seconds


def _await_ready(stack: trees.Trees) -> None:
    """Raises TimeoutError if it is not in time."""
    give_up_at = time.monotonic() + WITHIN_S
    while time.monotonic() < give_up_at:
        with closing(http.client.HTTPConnection("127.0.0.1", stack.port, timeout=WITHIN_S)) as client:
            client.request("GET", "/readyz")
            if client.getresponse().status == 200:
                return
        time.sleep(0.01)
    raise TimeoutError(f"not ready after {WITHIN_S} s")


def _tell_some(stack: trees.Trees, count: int) -> Iterator[float]:
    """Send an event to sagas at random. Yields how long each took to reach the handler of the next call, in ms."""
    with closing(sqlite3.connect(f"file:{stack.log}?mode=ro", uri=True, timeout=60)) as log:
        ids = [row[0] for row in log.execute("SELECT saga_id FROM saga WHERE status = 'RUNNING'")]
    with (
        closing(http.client.HTTPConnection("127.0.0.1", stack.port, timeout=WITHIN_S)) as client,
        closing(sqlite3.connect(f"file:{stack.store}?mode=ro", uri=True, timeout=60)) as store,
    ):
        for saga_id in random.sample(ids, min(count, len(ids))):
            sent_ns = time.time_ns()
            headers = {"content-type": "application/json", "x-idempotency-key": saga_id}
            client.request("POST", f"/listeners/{saga_id}/told", json.dumps({}), headers)
            answer = client.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
            yield (_finished_ns(store, saga_id) - sent_ns) / 1e6


def _finished_ns(store: sqlite3.Connection, saga_id: str) -> int:
    give_up_at = time.monotonic() + WITHIN_S
    while time.monotonic() < give_up_at:
        if found := store.execute("SELECT at_ns FROM finished WHERE saga_id = ?", (saga_id,)).fetchone():
            return found[0]
        time.sleep(0.002)
    raise TimeoutError(f"saga {saga_id} makes no call after {WITHIN_S} s")


if __name__ == "__main__":
    main()
