#!/usr/bin/env python
"""Measure whether sagas get dearer as the log grows: `python bench/flat.py [--mesh] [--sagas N] [--windows W]`.

Runs N sagas through one stack in W windows of the same size, and prints one line of JSON with the CPU time a saga of
each window, the log's size at the end, and how the last tenth of the windows compares with the first.
"""

import asyncio
import statistics
import tempfile
from pathlib import Path

import sagas
from load import Plan, Target, drive
from measuring import Figures, new_event_loop, options, tell
from processes import Processes


def main() -> None:
    parser = options("Measure whether sagas get dearer as the log grows.")
    parser.set_defaults(sagas=200_000)
    parser.add_argument("--mesh", action="store_true", help="one process for each service, over gRPC")
    parser.add_argument("--windows", type=int, default=40, metavar="W")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.data) as folder:
        data = Path(folder)
        processes = Processes(data / "output.log")
        try:
            target = sagas.starter(is_mesh=given.mesh)(processes, data)
            size = given.sagas // given.windows
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                if given.warm_up:
                    runner.run(drive(target, Plan(given.warm_up, 8, given.declined, False, "warm")))
                costs = [
                    runner.run(
                        _window(
                            processes, target, Plan(size, given.concurrency, given.declined, False, str(n))
                        )
                    )
                    for n in range(given.windows)
                ]
            tell(_figures(given.sagas, costs, target))
        finally:
            processes.stop()


async def _window(processes: Processes, target: Target, plan: Plan) -> float:
    """CPU milliseconds a saga."""
    before_s = processes.cpu_s()
    await drive(target, plan)
    return (processes.cpu_s() - before_s) / plan.count * 1000


def _figures(count: int, costs: list[float], target: Target) -> Figures:
    tenth = max(1, len(costs) // 10)
    first, last = statistics.median(costs[:tenth]), statistics.median(costs[-tenth:])
    return {
        "sagas": count,
        "cpu_ms_per_saga_by_window": [round(cost, 2) for cost in costs],
        "first": round(first, 2),
        "last": round(last, 2),
        "last_to_first": round(last / first, 3),
        "log_mib": round(target.log.stat().st_size / 2**20, 1),
    }


if __name__ == "__main__":
    main()
