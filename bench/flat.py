#!/usr/bin/env python
"""Measure whether sagas get dearer as the log grows: `python bench/flat.py [--mesh] [--sagas N] [--series S]`.

Runs N sagas through one stack, in windows of a size. Then, for each series, starts another one that is empty, and gives
the two windows by turns: whatever else the machine does meets both. Prints one line of JSON with each series' ratio of
the grown stack to the empty one, the median of its rounds, and the windows on the way as they came.
"""

import asyncio
import random
import statistics
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import sagas
from load import Plan, Target, drive
from measuring import Figures, new_event_loop, options, tell
from processes import Processes


@dataclass(frozen=True)
class Stack:
    """One that runs, and what to order from it."""

    processes: Processes
    target: Target
    declined: float
    concurrency: int

    async def warm_up(self, count: int) -> None:
        if count:
            await self.cost_ms(count, "warm")

    async def cost_ms(self, count: int, name: str) -> float:
        """CPU milliseconds a saga of the next `count`; `name` begins their keys."""
        before_s = self.processes.cpu_s()
        await drive(self.target, Plan(count, self.concurrency, self.declined, False, name))
        return (self.processes.cpu_s() - before_s) / count * 1000


def main() -> None:
    parser = options("Measure whether sagas get dearer as the log grows.")
    parser.set_defaults(sagas=200_000)
    parser.add_argument("--mesh", action="store_true", help="one process for each service, over gRPC")
    parser.add_argument("--window", type=int, default=2000, metavar="W", help="sagas of a window")
    parser.add_argument("--series", type=int, default=5, metavar="S", help="empty stacks to compare with")
    parser.add_argument("--rounds", type=int, default=20, metavar="R", help="turns of a series")
    parser.add_argument("--turn", type=int, default=500, metavar="T", help="sagas of a turn")
    given = parser.parse_args()
    if given.sagas < given.window:
        parser.error(f"--sagas {given.sagas} is less than one --window of {given.window}")
    start = sagas.starter(is_mesh=given.mesh)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.data) as folder:
        all_processes: list[Processes] = []

        def started(name: str) -> Stack:
            data = Path(folder) / name
            data.mkdir()
            processes = Processes(data / "output.log")
            all_processes.append(processes)
            return Stack(processes, start(processes, data), given.declined, given.concurrency)

        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                grown = started("grown")
                runner.run(grown.warm_up(given.warm_up))
                windows = [
                    runner.run(grown.cost_ms(given.window, f"window-{n}"))
                    for n in range(given.sagas // given.window)
                ]
                all_rounds: list[list[tuple[float, float]]] = []
                for series in range(given.series):
                    empty = started(f"empty-{series}")
                    runner.run(empty.warm_up(given.warm_up))
                    names = [f"series-{series}-{number}" for number in range(given.rounds)]
                    all_rounds.append([_round(runner, empty, grown, given.turn, name) for name in names])
                    empty.processes.stop()
            tell(_figures(len(windows) * given.window, windows, all_rounds, grown.target))
        finally:
            for processes in all_processes:
                processes.stop()


def _round(runner: asyncio.Runner, empty: Stack, grown: Stack, count: int, name: str) -> tuple[float, float]:
    """What a saga costs the empty and the grown stack; chance says who is first."""
    order = random.sample((empty, grown), 2)
    costs = {id(stack): runner.run(stack.cost_ms(count, name)) for stack in order}
    return costs[id(empty)], costs[id(grown)]


def _figures(
    count: int, windows: list[float], all_rounds: list[list[tuple[float, float]]], grown: Target
) -> Figures:
    ratios = [statistics.median(after / before for before, after in rounds) for rounds in all_rounds]
    return {
        "sagas": count,
        "empty_cpu_ms_per_saga": [_middle(before for before, _ in rounds) for rounds in all_rounds],
        "grown_cpu_ms_per_saga": [_middle(after for _, after in rounds) for rounds in all_rounds],
        "grown_to_empty": [round(ratio, 3) for ratio in ratios],
        "grown_to_empty_median": round(statistics.median(ratios), 3),
        "log_mib": round(grown.log.stat().st_size / 2**20, 1),
        "cpu_ms_per_saga_by_window": [round(cost, 2) for cost in windows],
    }


def _middle(costs: Iterable[float]) -> float:
    return round(statistics.median(costs), 2)


if __name__ == "__main__":
    main()
