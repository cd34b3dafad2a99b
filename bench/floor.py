#!/usr/bin/env python
"""Measure the durable floor: `python bench/floor.py [--sagas N] [--concurrency C]`, the options of sagas.py.

The floor is the least that does the same work and survives a crash: HTTP in, four calls over grpclib to three service
processes, and a row on disk before each next step, committed in groups. The services keep their state in memory. There
is no barrier, no validation, no deadline, no retry, no stored answer and no telemetry.
"""

import sys
from pathlib import Path

from load import Target
from measuring import measure, options, tell
from processes import Processes, free_ports

HERE = Path(__file__).resolve().parent
SERVICES = ("order", "inventory", "payment")

_ENDED = "SELECT number, saga FROM log WHERE number > ? AND event IN ('COMPLETED', 'COMPENSATED')"


def main() -> None:
    tell(measure("floor", start, options("Measure the durable floor.").parse_args()))


def start(processes: Processes, data: Path) -> Target:
    """For `measure`: three services, then the process that drives the sagas."""
    http, *ports = free_ports(1 + len(SERVICES))
    addresses = dict(zip(SERVICES, ports, strict=True))
    environment = {"PYTHONPATH": f"{HERE.parent}:{HERE.parent / 'codegen'}"}
    for name, port in addresses.items():
        processes.start(
            [sys.executable, str(HERE / "floor_service.py"), name, str(port)], environment, cwd=data
        )
    for port in ports:
        processes.await_port(port)
    gateway = [
        sys.executable,
        str(HERE / "floor_gateway.py"),
        str(data / "log.db"),
        str(http),
        *map(str, ports),
    ]
    processes.start(gateway, environment, cwd=data)
    processes.await_port(http)
    return Target(http, "/orders", data / "log.db", _ENDED)


if __name__ == "__main__":
    main()
