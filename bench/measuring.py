"""One measurement: options, a warm-up, the load, and the line of JSON that comes of it."""

import argparse
import asyncio
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from load import Plan, Target, Times, drive, percentile
from processes import Processes

try:
    from uvloop import new_event_loop
except ImportError:  # Windows
    from asyncio import new_event_loop

Figures = dict[str, object]
Start = Callable[[Processes, Path], Target]
"""Starts a stack that keeps its data in a folder, and returns when it takes orders."""


def options(description: str) -> argparse.ArgumentParser:
    """What every stack's measurement can be told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--sagas", type=int, default=1000, metavar="N", help="how many are measured")
    parser.add_argument("--concurrency", type=int, default=32, metavar="C", help="connections that post")
    parser.add_argument(
        "--declined", type=float, default=0.1, metavar="SHARE", help="orders whose payment is declined"
    )
    parser.add_argument(
        "--closed", action="store_true", help="a connection waits for the end of its saga before the next"
    )
    parser.add_argument(
        "--warm-up", type=int, default=200, metavar="N", help="sagas before the measured ones"
    )
    parser.add_argument(
        "--syncs", action="store_true", help="count syncs with strace; other figures are void"
    )
    parser.add_argument(
        "--data", type=Path, help="folder for the data; on a real disk, or syncs cost nothing"
    )
    return parser


def measure(name: str, start: Start, given: argparse.Namespace) -> Figures:
    """Start a stack, measure it, and end it."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.data) as folder:
        data = Path(folder)
        processes = Processes(data / "output.log")
        try:
            target = start(processes, data)
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                return {"stack": name, **runner.run(_measured(processes, target, given, data))}
        finally:
            processes.stop()


def tell(figures: Figures) -> None:
    print(json.dumps(figures), flush=True)


async def _measured(processes: Processes, target: Target, given: argparse.Namespace, data: Path) -> Figures:
    if given.warm_up:
        await drive(target, Plan(given.warm_up, min(8, given.concurrency), given.declined, False, "warm"))
    plan = Plan(given.sagas, given.concurrency, given.declined, given.closed, "run")
    tracing = processes.counting_syncs(data / "strace.log") if given.syncs else _untraced()
    with tracing as syncs:
        before_s = processes.cpu_s()
        times = await drive(target, plan)
        cpu_s = processes.cpu_s() - before_s
    return {
        **_of_plan(plan),
        **_of_times(times),
        "cpu_ms_per_saga": round(cpu_s / plan.count * 1000, 2),
        "peak_rss_mib": round(processes.peak_rss_mib(), 1),
        **({"syncs_per_saga": _of_syncs(syncs, plan.count)} if given.syncs else {}),
    }


def _untraced() -> AbstractContextManager[Counter[str]]:
    return nullcontext(Counter())


def _of_plan(plan: Plan) -> Figures:
    return {
        "sagas": plan.count,
        "concurrency": plan.concurrency,
        "declined": plan.declined,
        "closed": plan.is_closed,
        "load_average": round(os.getloadavg()[0], 2),
    }


def _of_times(times: Times) -> Figures:
    begun = min(times.posted.values())
    accept_ms, end_to_end_ms = times.accept_ms(), times.end_to_end_ms()
    return {
        "accepted_per_s": round(len(accept_ms) / (max(times.accepted.values()) - begun), 1),
        "completed_per_s": round(len(end_to_end_ms) / (max(times.ended.values()) - begun), 1),
        "accept_p50_ms": round(percentile(accept_ms, 0.50), 2),
        "accept_p99_ms": round(percentile(accept_ms, 0.99), 2),
        "end_to_end_p50_ms": round(percentile(end_to_end_ms, 0.50), 2),
        "end_to_end_p99_ms": round(percentile(end_to_end_ms, 0.99), 2),
    }


def _of_syncs(syncs: Counter[str], sagas: int) -> dict[str, float]:
    return {name: round(count / sagas, 3) for name, count in sorted(syncs.items())}
