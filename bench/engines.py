#!/usr/bin/env python
"""What an order costs by engine: `python bench/engines.py [ENGINE...] [--rounds R] [--sagas N]`.

Runs the shop as processes of their own, with its sagas in a file, in PostgreSQL and on Restate by turns, and prints a
table: CPU by process, bytes that an order leaves behind. ENGINE is `postgres` or `restate`; `file`, the mesh, is
always there, and what the others are relative to. Of PostgreSQL and Restate the servers count as well. Restate is one
node with two partitions; it needs `restate-server` of npm.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import engine_servers
from compare import row, spread
from engine_servers import ENGINES, EngineServer
from load import REFUSED_S, Plan, connected, is_accepted, order_request
from processes import Processes, exact_cpu_s, free_ports
from sagas import REPOSITORY, SERVICES, fill_stock

_ENDED = re.compile(r"^sagagen_sagas_ended_total\{[^}]*\} (\S+)$", re.MULTILINE)
WITHIN_S = 120.0
WATCH_S = 0.1
CPU = "CPU of all, ms an order"

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop's processes. `drives` is the port of the metrics of the process that drives sagas."""

    http: int
    drives: int
    pids: Mapping[str, int]

    def cpu_s(self, processes: Processes) -> dict[str, float]:
        """So far, by process."""
        return {name: sum(map(exact_cpu_s, processes.with_children(pid))) for name, pid in self.pids.items()}

    def ended(self) -> int:
        """How many sagas are over."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.drives}/metrics", timeout=30) as answer:
            return round(sum(map(float, _ENDED.findall(answer.read().decode()))))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what an order costs by engine.")
    parser.add_argument(
        "engines", nargs="*", metavar="ENGINE", help=f"{', '.join(ENGINES[1:])}; default: both"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="R")
    parser.add_argument("--sagas", type=int, default=1000, metavar="N", help="how many are measured")
    parser.add_argument(
        "--warm-up", type=int, default=300, metavar="N", help="orders before the measured ones"
    )
    parser.add_argument("--concurrency", type=int, default=16, metavar="C", help="connections that post")
    parser.add_argument("--declined", type=float, default=0.1, metavar="SHARE", help="orders that are undone")
    parser.add_argument("--data", type=Path, help="folder for the data, on a real disk")
    given = parser.parse_args()
    if unknown := set(given.engines) - set(ENGINES):
        parser.error(f"{', '.join(sorted(unknown))} is no engine; there are {', '.join(ENGINES)}")
    engines = ["file", *(given.engines or ENGINES[1:])]
    rounds = [
        {engine: _measured(engine, given) for engine in dict.fromkeys(engines)} for _ in range(given.rounds)
    ]
    print("\n".join(_table(rounds)))


def _measured(engine: str, given: argparse.Namespace) -> Figures:
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.data) as name:
        folder, count = Path(name), given.warm_up + given.sagas
        processes = Processes(folder / "output.log", start_within_s=WITHIN_S)
        try:
            server = engine_servers.start(engine, processes, folder)
            shop = start_shop(processes, folder, server)
            _drive(shop, Plan(given.warm_up, 8, given.declined, False, "warm"), over=0)
            wal = engine_servers.written_ahead(server)
            before, begun_s = shop.cpu_s(processes), time.monotonic()
            plan = Plan(given.sagas, given.concurrency, given.declined, False, "order")
            _drive(shop, plan, over=given.warm_up)
            took_s, after = time.monotonic() - begun_s, shop.cpu_s(processes)
            wal = engine_servers.written_ahead(server) - wal
            told = engine_servers.told_of_stored(server)
        finally:
            processes.stop()
        files = engine_servers.files_of(server, folder)
    cpu_ms = {name: (after[name] - before[name]) * 1000 / given.sagas for name in after}
    services = sum(cpu_ms.pop(name) for name in SERVICES)
    kept_kb = {name: size / 1000 / count for name, size in {**told, **files}.items()}
    figures: Figures = {
        CPU: services + sum(cpu_ms.values()),
        "services, ms": services,
        **{f"{name}, ms": spent for name, spent in cpu_ms.items()},
        **{f"{name}, KB an order": size for name, size in kept_kb.items()},
        **({"written ahead, KB an order": wal / 1000 / given.sagas} if wal else {}),
        "sagas a second": given.sagas / took_s,
    }
    print(json.dumps({"engine": engine, **figures}), file=sys.stderr, flush=True)
    return figures


def start_shop(processes: Processes, folder: Path, server: EngineServer, under: Sequence[str] = ()) -> Shop:
    """Its processes, each by itself; `under` is a command that runs them."""
    names = [*SERVICES, *(["adapter"] if server.engine == "restate" else []), "gateway"]
    http, *rest = free_ports(1 + len(names) + len(SERVICES))
    admin = dict(zip(names, rest, strict=False))
    grpc = dict(zip(SERVICES, rest[len(names) :], strict=True))
    told = {
        "SAGAGEN_DATA_DIR": str(folder),
        "SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}",
        "SAGAGEN_LOG_FORMAT": "json",
        **{f"SAGAGEN_{name.upper()}_ADDR": f"127.0.0.1:{port}" for name, port in grpc.items()},
        **server.environment,
    }
    pids = {server.engine: server.pid} if server.pid else {}
    for name in names:
        own = {"SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin[name]}"}
        if name in grpc:
            own["SAGAGEN_GRPC_ADDR"] = f"127.0.0.1:{grpc[name]}"
        what = ["up", "--project", str(REPOSITORY), "--only", "engine" if name == "adapter" else name]
        command = [*under, sys.executable, "-m", "sagagen", *what]
        pids[name] = processes.start(command, {**told, **own}, cwd=folder)
        processes.await_port(http if name == "gateway" else admin[name])
    fill_stock(folder / "inventory.db")
    return Shop(http, admin.get("adapter", admin["gateway"]), pids)


def _drive(shop: Shop, plan: Plan, over: int) -> None:
    """Post all orders, and wait until so many more are over than `over`."""
    asyncio.run(_post_all(shop, plan))
    give_up_at = time.monotonic() + WITHIN_S
    while shop.ended() < over + plan.count:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{shop.ended() - over} of {plan.count} sagas are over after {WITHIN_S} s")
        time.sleep(WATCH_S)


async def _post_all(shop: Shop, plan: Plan) -> None:
    orders = plan.orders()

    async def post() -> None:
        async with connected(shop.http) as (reader, writer):
            for key, price in orders:
                request = order_request("/orders", key, price)
                writer.write(request)
                while not await is_accepted(reader):
                    await asyncio.sleep(REFUSED_S)
                    writer.write(request)

    await asyncio.gather(*(post() for _ in range(plan.concurrency)))


def _table(rounds: Sequence[Mapping[str, Figures]]) -> list[str]:
    """Lines of Markdown: median (least to most), and CPU relative to the same round's mesh."""
    engines = list(rounds[0])
    rows = dict.fromkeys(name for engine in engines for name in rounds[0][engine])
    lines = ["| | " + " | ".join(engines) + " |", "|---" * (len(engines) + 1) + "|"]
    for name in rows:
        digits = 0 if name == "sagas a second" else 2
        lines.append(row(name, [spread([one[each].get(name) for one in rounds], digits) for each in engines]))
        if name == CPU:
            ratios = [spread([one[each][CPU] / one["file"][CPU] for one in rounds], 2) for each in engines]
            lines.append(row("relative to the mesh", ratios))
    return lines


if __name__ == "__main__":
    main()
