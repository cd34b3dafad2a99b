#!/usr/bin/env python
"""Count the instructions that a saga of the shop takes: `python bench/instructions.py [--mesh [--tls]] ...`.

Runs the stack under valgrind's callgrind, in one process or as a mesh, posts orders, waits until every saga is over,
and prints one line of JSON. The count is that of all processes together, without the system's part of a call, such as
a sync. It takes fifty times as long as without, but two runs differ by half a percent where time differs by half.
"""

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import sagas
from collector import KINDS, telemetry
from load import Plan, drive
from measuring import Figures, new_event_loop, options, tell
from processes import Processes

_START_WITHIN_S = 300.0
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def main() -> None:
    parser = options("Count the instructions that a saga of the shop takes.")
    parser.set_defaults(sagas=200, concurrency=4, warm_up=100)
    parser.add_argument("--mesh", action="store_true", help="one process for each service, over gRPC")
    parser.add_argument(
        "--tls", action="store_true", help="with --mesh: certificates on both ends of each call"
    )
    parser.add_argument("--telemetry", choices=KINDS, default="off", help="exported, as bench/sagas.py says")
    given = parser.parse_args()
    if not shutil.which("callgrind_control"):
        sys.exit("it needs valgrind with its callgrind_control on PATH")
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=given.data) as folder,
        telemetry(given.telemetry) as told,
    ):
        counts = Path(folder) / "counts"
        counts.mkdir()
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--trace-children=yes"]
        command.append(f"--callgrind-out-file={counts}/%p")
        # Sets of strings have one order then, so that runs compare.
        start = sagas.starter(
            is_mesh=given.mesh,
            with_tls=given.tls,
            environment={"PYTHONHASHSEED": "0", **told.environment},
            under=command,
        )
        processes = Processes(Path(folder) / "output.log", start_within_s=_START_WITHIN_S)
        try:
            target = start(processes, Path(folder))
            with asyncio.Runner(loop_factory=new_event_loop) as runner:

                def run(count: int, name: str) -> None:
                    plan = Plan(count, given.concurrency, given.declined, given.closed, name)
                    runner.run(drive(target, plan))

                run(given.warm_up, "warm")
                _tell_callgrind(processes, "--instr=on")
                run(given.concurrency, "translated")  # what is counted is translated anew
                _tell_callgrind(processes, "--zero")
                run(given.sagas, "run")
                _tell_callgrind(processes, "--dump")
        finally:
            processes.stop()
        stack = ("mesh, TLS" if given.tls else "mesh") if given.mesh else "embedded"
        figures = _figures(given.sagas, given.concurrency, counts)
        tell({"stack": stack, **figures, "telemetry": given.telemetry})


def _tell_callgrind(processes: Processes, what: str) -> None:
    for pid in processes.pids:
        subprocess.run(["callgrind_control", what, str(pid)], check=True, capture_output=True)


def _figures(count: int, concurrency: int, counts: Path) -> Figures:
    totals = [_TOTAL.search(dump.read_text(errors="replace")) for dump in counts.glob("*.1")]
    total = sum(int(found[1]) for found in totals if found)
    assert total, "callgrind wrote no total"
    return {
        "sagas": count,
        "concurrency": concurrency,
        "million_instructions_per_saga": round(total / count / 1e6, 3),
    }


if __name__ == "__main__":
    main()
