#!/usr/bin/env python
"""The CPU time of an order on Restate beside the mesh: `python bench/orders_on_restate.py [--sagas N] [--rounds N]`.

Both run the shop as processes of their own. On Restate they are the services, an adapter, a gateway and a server of
one node and two partitions, which counts as well. Prints one line of JSON for each run, in rounds: mesh, Restate, and
again. It needs `restate-server` of npm.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
from processes import Processes, free_ports

REPOSITORY = Path(__file__).parents[1]

SERVICES = ("order", "inventory", "payment")
CONFIGURATION = """
cluster-name = "bench"
node-name = "one"
auto-provision = true
default-num-partitions = 2
base-dir = "{folder}/restate"
listen-mode = "tcp"
bind-address = "127.0.0.1:{node}"
advertised-address = "http://127.0.0.1:{node}"
disable-telemetry = true
log-filter = "warn"
[ingress]
bind-address = "127.0.0.1:{ingress}"
[admin]
bind-address = "127.0.0.1:{admin}"
disable-web-ui = true
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sagas", type=int, default=400)
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    for _ in range(given.rounds):
        for kind in ("mesh", "restate"):
            print(json.dumps({"engine": kind, **_measured(kind, given)}), flush=True)


def binary() -> str:
    """Of the server: SAGAGEN_RESTATE_SERVER, on PATH, or from npm here or one folder up."""
    package = "node_modules/@restatedev/*/bin/restate-server"
    here = [
        *REPOSITORY.glob(package),
        *REPOSITORY.parent.glob(package),
        *REPOSITORY.parent.glob(f"*/{package}"),
    ]
    named = os.environ.get("SAGAGEN_RESTATE_SERVER") or shutil.which("restate-server")
    if not (named or here):
        sys.exit("there is no restate-server: npm install @restatedev/restate-server")
    return named or str(here[0])


def _measured(kind: str, given: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        processes = Processes(folder / "output.log", start_within_s=120.0)
        try:
            http, admin = _start(kind, processes, folder)
            asyncio.run(_orders(http, admin, given.warm_up, given.concurrency, "warm"))
            cpu_s, begun_s = processes.exact_cpu_s(), time.monotonic()
            asyncio.run(_orders(http, admin, given.sagas, given.concurrency, "order"))
            took_s, used_s = time.monotonic() - begun_s, processes.exact_cpu_s() - cpu_s
        finally:
            processes.stop()
    return {
        "sagas": given.sagas,
        "cpu_ms_per_saga": round(used_s * 1000 / given.sagas, 2),
        "sagas_per_s": round(given.sagas / took_s, 1),
    }


def _start(kind: str, processes: Processes, folder: Path) -> tuple[int, int]:
    http, admin, node, ingress, restate_admin, adapter, *rest = free_ports(6 + 2 * (len(SERVICES) + 1))
    grpc = {
        f"SAGAGEN_{name.upper()}_ADDR": f"127.0.0.1:{port}"
        for name, port in zip(SERVICES, rest, strict=False)
    }
    environment = {
        "SAGAGEN_DATA_DIR": str(folder),
        "SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}",
        "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}",
        "SAGAGEN_LOG_FORMAT": "json",
        **grpc,
    }
    if kind == "restate":
        written = CONFIGURATION.format(folder=folder, node=node, ingress=ingress, admin=restate_admin)
        (folder / "restate.toml").write_text(written)
        processes.start([binary(), "--no-logo", "-c", str(folder / "restate.toml")], {}, cwd=folder)
        processes.await_port(restate_admin)
        processes.await_port(ingress)
        environment |= {
            "SAGAGEN_ENGINE_URL": f"restate+http://127.0.0.1:{ingress}",
            "SAGAGEN_ENGINE_ADMIN_URL": f"http://127.0.0.1:{restate_admin}",
            "SAGAGEN_ENGINE_ADDR": f"127.0.0.1:{adapter}",
        }
    for at, service in enumerate(SERVICES):
        own = {
            "SAGAGEN_GRPC_ADDR": f"127.0.0.1:{rest[at]}",
            "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{rest[-1 - at]}",
        }
        _up(processes, service, {**environment, **own}, folder)
        processes.await_port(rest[at])
    if kind == "restate":
        _up(processes, "engine", {**environment, "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{rest[-4]}"}, folder)
        processes.await_port(adapter)
    _up(processes, "gateway", environment, folder)
    processes.await_port(http)
    return http, admin


def _up(processes: Processes, only: str, environment: Mapping[str, str], folder: Path) -> None:
    command = [sys.executable, "-m", "sagagen", "up", "--project", str(REPOSITORY), "--only", only]
    processes.start(command, environment, cwd=folder)


async def _orders(http: int, admin: int, count: int, concurrency: int, prefix: str) -> None:
    """Place them, and wait until all are over."""
    body = {"customer_id": "cust_1", "items": [{"product_id": "prod_1", "quantity": 1, "price": 0.5}]}
    numbers = iter(range(count))
    async with httpx.AsyncClient(timeout=60, verify=False) as client:

        async def place() -> None:
            for number in numbers:
                key = {"X-Idempotency-Key": f"{prefix}-{os.getpid()}-{number}"}
                answer = await client.post(f"http://127.0.0.1:{http}/orders", json=body, headers=key)
                while answer.status_code == 503:
                    await asyncio.sleep(0.2)
                    answer = await client.post(f"http://127.0.0.1:{http}/orders", json=body, headers=key)
                answer.raise_for_status()

        await asyncio.gather(*(place() for _ in range(concurrency)))
        for _ in range(3000):
            if not (await client.get(f"http://127.0.0.1:{admin}/sagas")).json()["sagas"]:
                return
            await asyncio.sleep(0.1)
        raise TimeoutError("sagas did not end")


if __name__ == "__main__":
    main()
