#!/usr/bin/env python
"""Measure whether sagas get dearer as the log grows: `python bench/flat.py [--mesh] [--sagas N] [--rounds R]`.

Runs N sagas through one stack, in windows of a size. Then starts a second one that is empty, and gives the two the same
window of sagas by turns: whatever else the machine does meets both. Prints one line of JSON with the CPU time a saga of
each round, the ratio of the grown stack to the empty one, and the windows on the way as they came.
"""

import asyncio
import statistics
import tempfile
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
    parser.add_argument("--rounds", type=int, default=9, metavar="R", help="windows of each stack at the end")
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
                empty = started("empty")
                runner.run(empty.warm_up(given.warm_up))
                rounds = [_round(runner, empty, grown, given.window, n) for n in range(given.rounds)]
            tell(_figures(len(windows) * given.window, windows, rounds, grown.target))
        finally:
            for processes in all_processes:
                processes.stop()


def _round(
    runner: asyncio.Runner, empty: Stack, grown: Stack, count: int, number: int
) -> tuple[float, float]:
    """What a saga costs the empty and the grown stack; who is first changes from round to round."""
    order = (empty, grown) if number % 2 else (grown, empty)
    costs = {id(stack): runner.run(stack.cost_ms(count, f"round-{number}")) for stack in order}
    return costs[id(empty)], costs[id(grown)]


def _figures(count: int, windows: list[float], rounds: list[tuple[float, float]], grown: Target) -> Figures:
    ratios = [after / before for before, after in rounds]
    return {
        "sagas": count,
        "empty_cpu_ms_per_saga": [round(before, 2) for before, _ in rounds],
        "grown_cpu_ms_per_saga": [round(after, 2) for _, after in rounds],
        "grown_to_empty": round(statistics.median(ratios), 3),
        "grown_to_empty_spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "log_mib": round(grown.log.stat().st_size / 2**20, 1),
        "cpu_ms_per_saga_by_window": [round(cost, 2) for cost in windows],
    }


if __name__ == "__main__":
    main()
