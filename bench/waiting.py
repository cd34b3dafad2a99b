#!/usr/bin/env python
"""Measure sagas that wait for an event: `python bench/waiting.py [--engine ENGINE] [--sagas N] [--rest SECONDS] ...`.

Starts N sagas that wait, in one process, and prints one line of JSON: the memory of each process, the CPU of each while
nothing happens, how long a look at how many are open takes, how long after kill -9 and a start our process listens, is
ready and drives, with what memory, and how long after an event was sent the next call of its saga was in the service's
handler. Sagas are in a file, in PostgreSQL or on Restate; the server of either lives on.
"""

import argparse
import asyncio
import http.client
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import engine_servers
import trees
from engine_servers import ENGINES
from load import REFUSED_S, connected, percentile
from measuring import Figures, tell
from processes import Processes, exact_cpu_s, pss_mib

WITHIN_S = 600.0
AT_ONCE = 16
SETTLED_S = 5.0
"""Time in which a process comes to rest after the last saga was accepted, or after it is ready."""
OURS = "sagagen"
AT_REST = 0.15
"""Cores; less than that is no work."""


@dataclass(frozen=True, slots=True)
class Life:
    """Our process from a start to its end, beside the engine's server."""

    stack: trees.Trees
    pids: Mapping[str, Sequence[int]]
    """By what they are."""

    @property
    def mib(self) -> dict[str, float]:
        return {name: round(sum(map(pss_mib, pids)), 1) for name, pids in self.pids.items()}

    def cpu_at_rest(self, seconds: float) -> dict[str, float]:
        """What is used while nothing happens, in cores."""
        before = self._cpu_s()
        time.sleep(seconds)
        after = self._cpu_s()
        return {name: round((after[name] - before[name]) / seconds, 4) for name in after}

    def _cpu_s(self) -> dict[str, float]:
        return {name: sum(map(exact_cpu_s, pids)) for name, pids in self.pids.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure sagas that wait for an event.")
    parser.add_argument("--engine", choices=ENGINES, default="file")
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
    servers = Processes(folder / "server.log", start_within_s=WITHIN_S)
    ours = Processes(folder / "output.log", start_within_s=WITHIN_S)

    def start() -> Life:
        stack = trees.start(ours, root, data, environment=server.environment)
        pids = {OURS: ours.pids}
        return Life(stack, {**pids, server.engine: servers.pids} if server.pid else pids)

    try:
        server = engine_servers.start(given.engine, servers, folder)
        life = start()
        _await_ready(life.stack)
        empty = life.mib
        began = time.perf_counter()
        ids = asyncio.run(_start_all(life.stack, given.sagas))
        accepting_s = time.perf_counter() - began
        _await_rest(life)
        waiting_s = time.perf_counter() - began
        time.sleep(SETTLED_S)
        full, at_rest, look_s = life.mib, life.cpu_at_rest(given.rest), _look_s(life.stack)
        told_ms = _tell_some(life.stack, random.sample(ids, given.events))
        ours.kill()
        began = time.perf_counter()
        life = start()
        listening_s = time.perf_counter() - began
        _await_ready(life.stack)
        ready_s = time.perf_counter() - began
        _tell_some(life.stack, ids[:1])
        driving_s = time.perf_counter() - began
        time.sleep(SETTLED_S)
        restarted, after_start = life.mib, life.cpu_at_rest(given.rest)
    finally:
        ours.stop()
        servers.stop()
    return {
        "engine": given.engine,
        "waiting": given.sagas,
        "accepted_after_s": round(accepting_s, 1),
        "all_wait_after_s": round(waiting_s, 1),
        "empty_mib": empty,
        "full_mib": full,
        "kib_a_saga": {name: round((full[name] - empty[name]) * 1024 / given.sagas, 2) for name in full},
        "cpu_at_rest": at_rest,
        "metrics_s": round(look_s, 2),
        "event_to_call_p50_ms": round(percentile(told_ms, 0.5), 1),
        "event_to_call_p99_ms": round(percentile(told_ms, 0.99), 1),
        "listening_after_s": round(listening_s, 2),
        "ready_after_s": round(ready_s, 2),
        "driving_after_s": round(driving_s, 2),
        "restarted_mib": restarted,
        "cpu_at_rest_after_start": after_start,
    }


async def _start_all(stack: trees.Trees, count: int) -> list[str]:
    """Their ids."""
    keys, ids = iter(range(count)), list[str]()

    async def some() -> None:
        async with connected(stack.port) as (reader, writer):
            for key in keys:
                request = trees.post("/listeners", f"listener-{key}", {})
                writer.write(request)
                while not (saga_id := await _accepted(reader)):
                    await asyncio.sleep(REFUSED_S)
                    writer.write(request)
                ids.append(saga_id)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return ids


async def _accepted(reader: asyncio.StreamReader) -> str:
    """A saga's id; empty if the stack has too much to do."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    body = await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
    if head.startswith(b"http/1.1 503"):
        return ""
    return json.loads(body)["id"]


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


def _await_rest(life: Life) -> None:
    """Until all that was accepted waits, by what is no longer done. Raises TimeoutError."""
    give_up_at = time.monotonic() + WITHIN_S
    while sum(life.cpu_at_rest(1.0).values()) > AT_REST:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"no rest after {WITHIN_S} s")


def _look_s(stack: trees.Trees) -> float:
    """How long /metrics takes, which says how many sagas are open."""
    began = time.perf_counter()
    with closing(http.client.HTTPConnection("127.0.0.1", stack.admin, timeout=WITHIN_S)) as client:
        client.request("GET", "/metrics")
        client.getresponse().read()
    return time.perf_counter() - began


def _tell_some(stack: trees.Trees, ids: Sequence[str]) -> list[float]:
    """Send an event to each of these sagas. How long each took to reach the handler of the next call, in ms."""
    took: list[float] = []
    with (
        closing(http.client.HTTPConnection("127.0.0.1", stack.port, timeout=WITHIN_S)) as client,
        closing(sqlite3.connect(f"file:{stack.store}?mode=ro", uri=True, timeout=60)) as store,
    ):
        for saga_id in ids:
            sent_ns = time.time_ns()
            while not _is_taken(client, saga_id):
                time.sleep(REFUSED_S)
            took.append((_finished_ns(store, saga_id) - sent_ns) / 1e6)
    return took


def _is_taken(client: http.client.HTTPConnection, saga_id: str) -> bool:
    """False where the saga is about to change its gateway, and is to be told again."""
    headers = {"content-type": "application/json", "x-idempotency-key": saga_id}
    client.request("POST", f"/listeners/{saga_id}/told", json.dumps({}), headers)
    answer = client.getresponse()
    said = answer.read()
    assert answer.status in (200, 503), said
    return answer.status == 200


def _finished_ns(store: sqlite3.Connection, saga_id: str) -> int:
    give_up_at = time.monotonic() + WITHIN_S
    while time.monotonic() < give_up_at:
        if found := store.execute("SELECT at_ns FROM finished WHERE saga_id = ?", (saga_id,)).fetchone():
            return found[0]
        time.sleep(0.002)
    raise TimeoutError(f"saga {saga_id} makes no call after {WITHIN_S} s")


if __name__ == "__main__":
    main()
