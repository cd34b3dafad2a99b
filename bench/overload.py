#!/usr/bin/env python
"""What comes of five times the capacity: `python bench/overload.py [--mesh] [--seconds N] [--factor F] ...`.

First the best throughput is looked for, at several numbers of connections that post one order after the other. Then
orders arrive by the clock, at `--factor` times that, whether the stack answers or not; those that find none of
`--connections` connections idle are counted as not sent. Latency counts from when an order should have been sent.
Prints one line of JSON, and exits 1 if one of `PROMISES` is broken. A release runs it with `--seconds 180`.
"""

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from load import CHARGED_PRICE, Plan, Target, drive, order_request, percentile
from measuring import Figures, new_event_loop, tell
from processes import Processes
from sagas import starter

PROBED = (16, 32, 64)
"""Connections at which the best throughput is looked for."""
DRAINED_WITHIN_S = 120.0
PROMISES: Mapping[str, Callable[[float], bool]] = {
    "accepted_p99_ms": lambda ms: ms < 1000,
    "refused_p99_ms": lambda ms: ms < 100,
    "without_retry_after": lambda count: count == 0,
    "never_tried": lambda count: count == 0,
    "other_answers": lambda count: count == 0,
    "throughput_to_best": lambda share: share >= 0.9,
    "memory_grown": lambda share: share < 0.25,
}

_NEVER_TRIED = """
SELECT count(*) FROM saga
WHERE NOT EXISTS (SELECT 1 FROM event WHERE event.saga = saga.number AND event.attempt IS NOT NULL)
"""
_OPEN = "SELECT count(*) FROM saga WHERE status IN ('RUNNING', 'COMPENSATING')"
_ENDED = "SELECT count(*) FROM saga WHERE status NOT IN ('RUNNING', 'COMPENSATING')"


def main() -> None:
    given = _options().parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.data) as folder:
        data = Path(folder)
        processes = Processes(data / "output.log")
        try:
            target = starter(is_mesh=given.mesh)(processes, data)
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                figures = runner.run(_measured(processes, target, given))
        finally:
            processes.stop()
    tell({"stack": "mesh" if given.mesh else "embedded", **figures})
    broken = [name for name, holds in PROMISES.items() if not holds(float(str(figures[name])))]
    if broken:
        sys.exit(f"broken: {', '.join(broken)}")


def _options() -> ArgumentParser:
    parser = ArgumentParser(description="Offer more orders than can be worked off.")
    parser.add_argument("--mesh", action="store_true", help="one process for each service, over gRPC")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="N", help="of overload")
    parser.add_argument("--factor", type=float, default=5.0, metavar="F", help="times the best throughput")
    parser.add_argument("--connections", type=int, default=1000, metavar="C", help="at most")
    parser.add_argument("--probe", type=int, default=1500, metavar="N", help="orders to find the best with")
    parser.add_argument("--data", type=Path, help="folder for the data; on a real disk")
    return parser


@dataclass(slots=True)
class Told:
    """What the answers were; times in milliseconds."""

    accepted_ms: list[float] = field(default_factory=list[float])
    refused_ms: list[float] = field(default_factory=list[float])
    without_retry_after: int = 0
    others: int = 0
    not_sent: int = 0

    def add(self, head: bytes, took_ms: float) -> None:
        status = head[9:12]
        if status in (b"201", b"202"):
            self.accepted_ms.append(took_ms)
        elif status == b"503":
            self.refused_ms.append(took_ms)
            self.without_retry_after += b"retry-after:" not in head.lower()
        else:
            self.others += 1


class Client(asyncio.Protocol):
    """One connection, with one order under way at most."""

    def __init__(self, told: Told, idle: "deque[Client]") -> None:
        self._told = told
        self._idle = idle
        self._due_s = 0.0
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def send(self, request: bytes, due_s: float) -> None:
        assert self._transport
        self._due_s = due_s
        self._transport.write(request)

    def close(self) -> None:
        assert self._transport
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) >= length:
            self._buffer = b""
            self._told.add(head, (time.perf_counter() - self._due_s) * 1000)
            self._idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)


async def _measured(processes: Processes, target: Target, given: Namespace) -> Figures:
    best, best_cpu_ms = await _best_throughput(processes, target, given.probe)
    before_mib, ended, cpu_s = processes.rss_mib(), _count(target, _ENDED), processes.cpu_s()
    begun_s = time.perf_counter()
    told = await _offered(target, best * given.factor, given.seconds, given.connections)
    took_s = time.perf_counter() - begun_s
    in_time = _count(target, _ENDED) - ended
    cpu_ms = (processes.cpu_s() - cpu_s) * 1000 / max(1, in_time)
    await _until(lambda: not _count(target, _OPEN))
    return {
        "best_per_s": round(best, 1),
        "offered_per_s": round((_answers(told) + told.not_sent) / took_s, 1),
        "not_sent": told.not_sent,
        **_latencies("accepted", told.accepted_ms),
        **_latencies("refused", told.refused_ms),
        "without_retry_after": told.without_retry_after,
        "other_answers": told.others,
        "never_tried": _count(target, _NEVER_TRIED),
        "completed_per_s": round(in_time / took_s, 1),
        "throughput_to_best": round(in_time / took_s / best, 3),
        "cpu_ms_per_saga_at_best": round(best_cpu_ms, 2),
        "cpu_ms_per_saga": round(cpu_ms, 2),
        "load_average": round(os.getloadavg()[0], 1),
        "rss_mib": round(processes.rss_mib(), 1),
        "memory_grown": round(processes.rss_mib() / before_mib - 1, 3),
    }


def _answers(told: Told) -> int:
    return len(told.accepted_ms) + len(told.refused_ms) + told.others


def _latencies(name: str, values_ms: list[float]) -> Figures:
    found = values_ms or [0.0]
    shares = {"p50": 0.5, "p99": 0.99, "most": 1.0}
    return {
        name: len(values_ms),
        **{f"{name}_{share}_ms": round(percentile(found, at), 1) for share, at in shares.items()},
    }


async def _best_throughput(processes: Processes, target: Target, count: int) -> tuple[float, float]:
    """Orders a second, and the CPU time in ms that each took. The first round warms up, and does not count."""
    found: list[tuple[float, float]] = []
    for number, connections in enumerate((PROBED[0], *PROBED)):
        begun_s, cpu_s = time.perf_counter(), processes.cpu_s()
        await drive(target, Plan(count, connections, 0.0, True, f"probe-{number}"))
        cpu_ms = (processes.cpu_s() - cpu_s) * 1000 / count
        found.append((count / (time.perf_counter() - begun_s), cpu_ms))
    return max(found[1:])


async def _offered(target: Target, per_s: float, seconds: float, connections: int) -> Told:
    told, idle = Told(), deque[Client]()
    clients: list[Client] = []
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: Client(told, idle), "127.0.0.1", target.port)
        clients.append(client)
    idle.extend(clients)
    begun_s, sent = time.perf_counter(), 0
    while (now_s := time.perf_counter()) < begun_s + seconds:
        while (due_s := begun_s + sent / per_s) <= now_s:
            sent += 1
            if idle:
                idle.popleft().send(order_request(target.path, f"over-{sent}", CHARGED_PRICE), due_s)
            else:
                told.not_sent += 1
        await asyncio.sleep(0.001)
    await _until(lambda: len(idle) == connections)
    for client in clients:
        client.close()
    return told


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(DRAINED_WITHIN_S):
        while not is_so():  # noqa: ASYNC110 - the stack is another process
            await asyncio.sleep(0.05)


def _count(target: Target, sql: str) -> int:
    with closing(sqlite3.connect(f"file:{target.log}?mode=ro", uri=True)) as log:
        (count,) = log.execute(sql).fetchone()
        return count


if __name__ == "__main__":
    main()
