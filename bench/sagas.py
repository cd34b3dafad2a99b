#!/usr/bin/env python
"""Measure the shop of this repository: `python bench/sagas.py [--mesh] [--sagas N] [--concurrency C]`.

Starts the stack itself, on free ports and with data of its own; posts orders; waits until every saga is over; prints
one line of JSON. CPU and memory are those of all of the stack's processes; the load's own are not in it.
"""

import argparse
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from load import Target
from measuring import Start, measure, options, tell
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
    given = parser.parse_args()
    tell(measure("mesh" if given.mesh else "embedded", starter(given), given))


def starter(given: argparse.Namespace) -> Start:
    """For `measure`: the shop in one process, or as a mesh."""
    mode = ["--mesh"] if given.mesh else []

    def start(processes: Processes, data: Path) -> Target:
        http, admin, *rest = free_ports(2 + 2 * len(SERVICES))
        grpc = dict(zip(SERVICES, rest[len(SERVICES) :], strict=True))
        environment = {
            "SAGAGEN_DATA_DIR": str(data),
            "SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}",
            "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}",
            "SAGAGEN_LOG_FORMAT": "json",
            **{f"SAGAGEN_{name.upper()}_ADDR": f"127.0.0.1:{port}" for name, port in grpc.items()},
        }
        command = [sys.executable, "-m", "sagagen", "up", "--project", str(REPOSITORY), *mode]
        processes.start(command, environment, cwd=data)
        processes.await_port(http)
        _fill_stock(data / "inventory.db")
        return Target(http, "/orders", data / "saga-log.db", _ENDED)

    return start


def _fill_stock(database: Path) -> None:
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        connection.execute("UPDATE stock SET available = ?", (STOCK,))


if __name__ == "__main__":
    main()
