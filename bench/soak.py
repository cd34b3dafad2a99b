#!/usr/bin/env python
"""Whether memory stays: `python bench/soak.py [--mesh] [--rounds N] [--sagas N] [--concurrency C] ...`.

Posts `--sagas` orders a round, over as many connections in each, waits until all are over, and prints a line of JSON
with what the stack's processes then have in memory. The first two rounds fill what is filled once: caches, and the
allocator's arenas up to the most that is in memory at once. From there on memory may grow by `--grown` in all.
Exits 1 if it grows more.
"""

import asyncio
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

from load import Plan, Target, drive
from measuring import Figures, new_event_loop, tell
from processes import Processes
from sagas import starter

FILLED_AFTER = 2
"""Rounds."""


def main() -> None:
    given = _options().parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.data) as folder:
        data = Path(folder)
        processes = Processes(data / "output.log")
        try:
            target = starter(is_mesh=given.mesh)(processes, data)
            rss_mib = [_after_a_round(processes, target, given, number) for number in range(given.rounds)]
        finally:
            processes.stop()
    figures = _summed_up(rss_mib, given)
    tell(figures)
    sys.exit(1 if rss_mib[-1] > rss_mib[FILLED_AFTER - 1] * (1 + given.grown) else 0)


def _options() -> ArgumentParser:
    parser = ArgumentParser(description="Measure whether memory stays under load.")
    parser.add_argument("--mesh", action="store_true", help="one process for each service, over gRPC")
    parser.add_argument("--rounds", type=_rounds, default=6, metavar="N", help="three or more")
    parser.add_argument("--sagas", type=int, default=2000, metavar="N", help="orders in a round")
    parser.add_argument("--concurrency", type=int, default=32, metavar="C", help="connections that post")
    parser.add_argument(
        "--grown", type=float, default=0.05, metavar="SHARE", help="the ceiling: 0.05 is 5 %%"
    )
    parser.add_argument("--data", type=Path, help="folder for the data")
    return parser


def _rounds(text: str) -> int:
    if (number := int(text)) <= FILLED_AFTER:
        raise ValueError
    return number


def _after_a_round(processes: Processes, target: Target, given: Namespace, number: int) -> float:
    plan = Plan(given.sagas, given.concurrency, 0.1, False, f"round-{number}")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(drive(target, plan))
    rss_mib = round(processes.rss_mib(), 1)
    tell({"round": number + 1, "sagas": (number + 1) * given.sagas, "rss_mib": rss_mib})
    return rss_mib


def _summed_up(rss_mib: list[float], given: Namespace) -> Figures:
    filled, last = rss_mib[FILLED_AFTER - 1], rss_mib[-1]
    sagas = (given.rounds - FILLED_AFTER) * given.sagas
    return {
        "stack": "mesh" if given.mesh else "embedded",
        "concurrency": given.concurrency,
        "grown": round(last / filled - 1, 3),
        "kib_per_saga": round((last - filled) * 1024 / sagas, 2),
    }


if __name__ == "__main__":
    main()
